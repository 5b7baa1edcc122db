"""Training on a real Slurm cluster of two nodes, brought up on this machine by slurm/cluster.sh."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import SMALL, points, records, same_bits, state, train

pytestmark = pytest.mark.slurm

SCRIPT = Path(__file__).parents[2] / "slurm" / "cluster.sh"


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Environment of a client of the cluster, whose folder has a short path: it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as root:
        settings = {"SLURM_ROOT": root, "NODES": "2", "CPUS": "2", "GPUS": "0", "ACCT": "none"}
        environment = {**os.environ, **settings, "SLURM_CONF": f"{root}/etc/slurm.conf"}
        subprocess.run([SCRIPT, "start"], env=environment, check=True)
        yield environment
        subprocess.run([SCRIPT, "stop"], env=environment, check=True)


@pytest.fixture(scope="module")
def whole_pair(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the cluster's must equal: two processes on one machine."""
    run = tmp_path_factory.mktemp("runs") / "pair"
    train(images, run, launcher="torchrun x2")
    return run


def place(images: Path, run: Path) -> tuple[str, ...]:
    return ("--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1")


def test_srun_trains_on_two_nodes(cluster: dict[str, str], images: Path, whole_pair: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["srun", "--nodes", "2", "--ntasks", "2", sys.executable, "-m", "trainer", *SMALL, *place(images, run)]
    subprocess.run(command, env=cluster, check=True, timeout=120)
    (beginning,) = [record for record in records(run) if record["kind"] == "start"]
    assert (beginning["launcher"], beginning["world_size"]) == ("srun", 2)
    assert same_bits(state(run), state(whole_pair))
    assert points(run) == points(whole_pair)


def test_a_submitted_run_trains_on_two_nodes(
    cluster: dict[str, str], images: Path, whole_pair: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ask = ("--nodes", "2", "--hours", "0.1", "--partition", "main", "--memory-gb", "2")
    command = [sys.executable, "-m", "launch", "submit", *SMALL[1:], *place(images, run), *ask]
    done = subprocess.run(command, env=cluster, check=True, capture_output=True, text=True, timeout=60)
    assert "is queued" in done.stdout
    wait_for(run / "result.json", run)
    assert same_bits(state(run), state(whole_pair))


def test_slurm_s_own_words_come_through_when_it_refuses(cluster: dict[str, str], images: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch", "submit", *SMALL[1:], *place(images, tmp_path), "--partition", "nowhere"]
    done = subprocess.run(command, env=cluster, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Slurm refused the job" in done.stderr
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def wait_for(file: Path, run: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline, "\n".join(log.read_text() for log in run.glob("slurm/*_log.*"))
        time.sleep(0.2)
