"""Runs on a real Slurm cluster of four nodes with accounting, brought up on this machine by slurm/cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from launch import attempts
from launch.submission import LaunchFolder
from tests.commands import HANGS_S
from tests.system import clusters
from tests.system.running import SMALL, last_step, points, processes, records, same_bits, state, train, wait_for
from trainer.stopping import START_AGAIN

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Environment of a client of the cluster."""
    with clusters.cluster(nodes=4, accounting="dbd", gpus=2) as environment:
        yield environment


def place(images: Path, run: Path) -> tuple[str, ...]:
    return ("--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1")


def launch(cluster: dict[str, str], *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m launch WORDS` with the code that lies in `folder`."""
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(
        command, cwd=folder, env=cluster, check=False, capture_output=True, text=True, timeout=HANGS_S
    )


def slurm(cluster: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=cluster, check=True, capture_output=True, text=True, timeout=HANGS_S).stdout


def scheduler_state(cluster: dict[str, str], job: str) -> str:
    return slurm(cluster, "squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def test_two_nodes_of_two_processes_train_alike_under_srun_and_when_submitted(
    cluster: dict[str, str], images: Path, tmp_path: Path
) -> None:
    ours, bare = tmp_path / "submitted", tmp_path / "srun"
    small = (*SMALL, "--micro-batch", "4", "--epochs", "3")
    words = ("--nodes", "2", "--processes-per-node", "2", "--hours", "0.1", "--memory-gb", "2")
    site = ("--sbatch", "comment=of a site", "--sbatch", "export=NONE", "--srun", "mpi=none", "--srun", "export=ALL")
    done = launch(cluster, "submit", *small[1:], *place(images, ours), *words, *site)
    assert "is queued" in done.stdout, done.stderr
    assert "of a site" in slurm(cluster, "squeue", "--noheader", "--states=all", "--format=%k")
    srun = ("srun", "--nodes", "2", "--ntasks", "4", "--ntasks-per-node", "2", sys.executable, "-m", "trainer")
    subprocess.run([*srun, *small, *place(images, bare)], env=cluster, check=True, timeout=HANGS_S)
    wait_for((ours / "result.json").exists, ours)
    for run in (ours, bare):
        (beginning,) = [record for record in records(run) if record["kind"] == "start"]
        assert (beginning["launcher"], beginning["world_size"]) == ("srun", 4)
    assert same_bits(state(ours), state(bare))
    assert points(ours) == points(bare)


def test_a_cancelled_run_has_saved_and_resumes_with_the_code_it_was_submitted_with(
    cluster: dict[str, str], images: Path, whole: Path, tmp_path: Path
) -> None:
    run, checkout = tmp_path / "run", tmp_path / "checkout"
    for package in ("launch", "trainer", "models", "data"):
        shutil.copytree(ROOT / package, checkout / package)
    done = launch(cluster, "submit", *SMALL[1:], *place(images, run), "--hours", "0.1", folder=checkout)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout)
    wait_for(lambda: last_step(run) >= 20, run)
    again = launch(cluster, "submit", *SMALL[1:], *place(images, run))
    assert (again.returncode, "provenet cancel" in again.stderr) == (2, True)

    assert launch(cluster, "cancel", str(run)).returncode == 0
    attempt = attempts.read(LaunchFolder(run).attempts)[-1]
    assert attempt.end and (attempt.end.then, attempt.end.code) == ("cancelled", 75)
    assert state(run)["step"] == attempt.end.step == last_step(run) < 72
    assert slurm(cluster, "squeue", "--noheader", f"--jobs={attempt.job}") == ""
    assert "cancelled" in launch(cluster, "status", str(tmp_path)).stdout

    assert launch(cluster, "resume", str(run), "--hours", "0.2").returncode == 0
    wait_for((run / "result.json").exists, run)
    assert same_bits(state(run), state(whole))
    assert points(run) == points(whole)
    assert f"going on after step {attempt.end.step}" in launch(cluster, "logs", str(run), "--rank", "0").stdout
    assert "finished" in launch(cluster, "status", str(tmp_path)).stdout


def ranks(run: Path) -> list[int]:
    """The processes of a run that srun has started."""
    return [one for one in processes(run) if b"SLURM_PROCID" in Path(f"/proc/{one}/environ").read_bytes()]


CHOICE = """
import os
from trainer import devices
from trainer.world import from_environment
world, visible = from_environment(), os.environ["CUDA_VISIBLE_DEVICES"].split(",")
print(os.environ["SLURMD_NODENAME"], visible[devices.index(world.local_rank, len(visible))], len(visible), flush=True)
"""


@pytest.mark.parametrize(
    ("binding", "seen"),
    [("--gpus-per-task=1", 1), ("--gpus-per-node=2 --gpu-bind=single:1", 1), ("--gpus-per-node=2", 2)],
)
def test_each_process_has_a_gpu_of_its_own_however_slurm_binds_them(
    cluster: dict[str, str], binding: str, seen: int
) -> None:
    words = ("srun", "--nodes=2", "--ntasks-per-node=2", *binding.split(), sys.executable, "-c", CHOICE)
    told = [line.split() for line in slurm(cluster, *words).splitlines()]
    assert {int(visible) for _, _, visible in told} == {seen}
    assert sorted(gpu for _, gpu, _ in told) == ["0", "0", "1", "1"]
    assert len({(node, gpu) for node, gpu, _ in told}) == 4


def test_a_run_leaves_a_node_with_a_faulty_gpu_and_stays_cancelled_by_slurm(
    cluster: dict[str, str], images: Path, tmp_path: Path
) -> None:
    launch(cluster, "submit", *SMALL[1:], *place(images, tmp_path), "--hours", "0.1", "--epochs", "1000")
    folder = LaunchFolder(tmp_path)
    wait_for(lambda: bool(ranks(tmp_path)), tmp_path)
    node = attempts.read(folder.attempts)[0].nodes
    start = {"kind": "start", "step": 0, "time": time.time(), "gpu_faults": {node: "GPU 1: hot"}, "packages": {}}
    start |= dict.fromkeys(("world_size", "device", "host", "launcher", "threads", "loader", "python"), "")
    (tmp_path / "metrics.jsonl").write_text(json.dumps(start) + "\n")  # as the trainer writes it where there are GPUs
    for process in ranks(tmp_path):
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: len(attempts.read(folder.attempts)) == 2, tmp_path)
    submission, (_, attempt) = folder.submission(), attempts.read(folder.attempts)
    assert submission
    assert attempt.nodes != node
    assert f"{node} is excluded for its faulty GPU 1: hot" in launch(cluster, "status", str(tmp_path)).stdout
    assert f"ExcNodeList={node}" in slurm(cluster, "scontrol", "show", "job", submission.job).split()

    wait_for(lambda: last_step(tmp_path) >= 3, tmp_path)
    slurm(cluster, "scancel", submission.job)
    wait_for(
        lambda: (
            slurm(cluster, "squeue", "--noheader", "--states=all", f"--jobs={submission.job}", "--format=%T")
            == "CANCELLED\n"
        ),
        tmp_path,
    )
    assert state(tmp_path)["step"] == last_step(tmp_path)  # saved on the way out
    status = launch(cluster, "status", str(tmp_path)).stdout
    assert "cancelled" in status
    assert "provenet resume" in status


def test_a_requeued_job_runs_no_code_that_was_put_in_the_place_of_its_own(
    cluster: dict[str, str], images: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    launch(cluster, "submit", *SMALL[1:], *place(images, run), "--hours", "0.1", "--epochs", "1000")
    wait_for(lambda: last_step(run) >= 3, run)
    submission = LaunchFolder(run).submission()
    assert submission
    (run / "launch").rename(run / "ours")  # as others do who can write the run directory
    shutil.copytree(run / "ours", run / "launch")
    with ZipFile(submission.code, "w") as archive:
        for module in ("launch/__init__.py", "launch/worker.py", "trainer/__init__.py", "trainer/__main__.py"):
            archive.writestr(module, f"open({str(tmp_path / 'pwned')!r}, 'w')")
    slurm(cluster, "scontrol", "requeue", submission.job)
    log = Path(submission.log)
    wait_for(lambda: "is not what was submitted; nothing of it is run" in log.read_text(), run)
    wait_for(lambda: scheduler_state(cluster, submission.job) == "FAILED", run)
    assert not (tmp_path / "pwned").exists()


def test_an_array_of_four_runs_ends_with_a_table_though_one_was_preempted(
    cluster: dict[str, str], images: Path, whole: Path, tmp_path: Path
) -> None:
    sweep, root = tmp_path / "sweep.yaml", tmp_path / "runs"
    recipe = tmp_path / "longer.yaml"  # a run of the others' length could end before it is preempted
    recipe.write_text((whole / "recipe.yaml").read_text().replace("epochs: 12\n", "epochs: 36\n"))
    train(images, tmp_path / "alone", "--epochs", "36")
    sweep.write_text(f"recipe: {recipe}\ngrid:\n  optimizer.lr: [0.05, 0.1]\n  seed: [0, 1]\n")
    words = ("array", str(sweep), *place(images, root), "--hours", "0.1", "--partition", "lo", "--parallel", "2")
    assert "4 runs are queued, 2 at a time" in launch(cluster, *words, "--memory-gb", "7").stdout
    run = root / "lr=0.05,seed=0"
    wait_for(lambda: last_step(run) >= 10, run)
    node = attempts.read(LaunchFolder(run).attempts)[0].nodes
    high = ("--partition=hi", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    slurm(cluster, "sbatch", *high)
    assert "4 runs, 4 of them finished, running or queued" in launch(cluster, *words).stdout
    wait_for(lambda: len(list(root.glob("*/result.json"))) == 4, run)
    codes = [attempt.end and attempt.end.code for attempt in attempts.read(LaunchFolder(run).attempts)]
    assert len(codes) > 1  # Slurm may start it again before the other job, and preempt it once more
    assert {*codes[:-1]} == {START_AGAIN}  # the last has a result, but its end may not be recorded yet
    assert same_bits(state(run), state(tmp_path / "alone"))
    wait_for(lambda: (root / "summary.md").read_text().count("2 of 2") == 2, run)
    assert " +- " in launch(cluster, *words, "--summary").stdout


@pytest.mark.parametrize(
    ("flags", "words", "mend"),
    [
        (["--partition", "nowhere"], "invalid partition specified: nowhere", "change --partition"),
        (["--account", "nobody"], "Invalid account or account/partition combination", "change --account"),
        (["--nodes", "8"], ": it would never start", "change --nodes"),  # PartitionConfig or PartitionNodeLimit
        (["--sbatch", "gres=tpu:1"], "Invalid generic resource", "change --gpus-per-node"),
        (["--cpus-per-process", "64"], "PartitionConfig: it would never start", "--cpus-per-process"),
        (["--exclude", "n77"], "Invalid node name specified", "change --exclude"),
        (["--sbatch", "no-such=1"], "unrecognized option '--no-such=1'", "change --sbatch"),
    ],
)
def test_a_refusal_has_slurm_s_own_words_and_what_to_change(
    cluster: dict[str, str], images: Path, tmp_path: Path, flags: list[str], words: str, mend: str
) -> None:
    done = launch(cluster, "submit", *SMALL[1:], "--micro-batch", "2", *place(images, tmp_path / "run"), *flags)
    assert done.returncode == 1
    assert "Slurm refused the job" in done.stderr
    assert words.lower() in done.stderr.lower()
    assert mend in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
