"""The plain sbatch scripts, with Slurm's commands replaced, and on a real cluster, where a stop loses nothing."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.system import clusters
from tests.system.running import BIN, SMALL, last_step, points, records, same_bits, state, train

FOLDER = Path(__file__).parents[2] / "slurm"
SCRIPTS = {  # nodes, and processes on each: two processes in all
    "accelerate": (2, 1),
    "torchrun": (2, 1),
    "one-node": (1, 2),
}
SHORT = ("--epochs", "4")  # what a start costs here, by far exceeds what training does
LAST_STEP = 24

REPLACED = {
    "srun": 'while [[ $1 == --* ]]; do echo "$1" >>flags; shift; done; SLURM_NODEID=1 exec "$@"',
    "python": 'printf "%s\\0" "$@" >arguments; exit "$CODE"',
    "squeue": 'echo "$STATE"',
    "scontrol": 'if [ "$1" = requeue ]; then echo "$2" >requeued; else printf "n7\\nn8\\n"; fi',
}
JOB = {
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NODELIST": "n[7-8]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURM_CPUS_PER_TASK": "4",
    "SLURM_GPUS_ON_NODE": "8",
    "CODE": "0",
    "STATE": "RUNNING",
}


def run(name: str, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with Slurm's commands and Python replaced by ones that write down what they were given."""
    for command, does in REPLACED.items():
        (folder / command).write_text(f"#!/bin/bash\n{does}\n")
        (folder / command).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", **JOB, **variables}
    command = ["bash", FOLDER / f"{name}.sbatch", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def given(folder: Path) -> list[str]:
    return (folder / "arguments").read_text().split("\0")[:-1]


@pytest.mark.parametrize("name", SCRIPTS)
def test_arguments_reach_the_trainer_as_they_were_given(name: str, tmp_path: Path) -> None:
    arguments = ["resnet50", "--output", "a b", "--data", "$(touch shell) `touch shell` 'x' \"y\" ; *", ""]
    assert run(name, tmp_path, *arguments).returncode == 0
    assert given(tmp_path)[-len(arguments) - 2 :] == ["trainer", "train", *arguments]
    assert not (tmp_path / "shell").exists()
    assert "--cpus-per-task=4" in (tmp_path / "flags").read_text()


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("accelerate", {}, ["--num_processes 16", "--machine_rank 1", "--main_process_ip n7", "--num_machines 2"]),
        ("accelerate", {"SLURM_GPUS_ON_NODE": "", "PROCESSES": "3"}, ["--num_processes 6"]),
        ("torchrun", {}, ["--nnodes 2", "--nproc-per-node 8", "--rdzv-endpoint n7:23456"]),
        ("torchrun", {"SLURM_GPUS_ON_NODE": ""}, ["--nproc-per-node 1"]),
        ("one-node", {"SLURM_GPUS_ON_NODE": "", "PROCESSES": "2"}, ["--standalone --nproc-per-node 2"]),
    ],
)
def test_processes_are_the_gpus_or_those_asked_for(
    name: str, variables: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    assert run(name, tmp_path, **variables).returncode == 0
    words = " ".join(given(tmp_path))
    assert [text for text in expected if text not in words] == []


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    ("variables", "requeued", "said"),
    [
        ({"CODE": "75"}, True, "requeued"),
        ({"CODE": "75", "SLURM_RESTART_COUNT": "19"}, True, "requeued"),
        ({"CODE": "75", "SLURM_RESTART_COUNT": "20"}, False, "giving up: started again 20 times already"),
        ({"CODE": "75", "STATE": "COMPLETING"}, False, "start 0"),  # cancelled, or requeued by Slurm itself
        ({"CODE": "0"}, False, "start 0"),
        ({"CODE": "2"}, False, "start 0"),
        ({"CODE": "137"}, False, "start 0"),
    ],
)
def test_only_a_stop_in_good_order_is_requeued(
    name: str, variables: dict[str, str], requeued: bool, said: str, tmp_path: Path
) -> None:
    done = run(name, tmp_path, **variables)
    assert done.returncode == int(variables["CODE"])
    assert (tmp_path / "requeued").exists() == requeued
    assert said in done.stdout + done.stderr


def test_accelerate_of_one_process_is_sent_to_the_other_script(tmp_path: Path) -> None:
    done = run("accelerate", tmp_path, SLURM_JOB_NUM_NODES="1", SLURM_GPUS_ON_NODE="1")
    assert (done.returncode, (tmp_path / "arguments").exists()) == (2, False)
    assert "one-node.sbatch" in done.stderr


@dataclass(frozen=True, slots=True)
class Job:
    """A queued script."""

    number: str
    run: Path
    log: Path
    client: Mapping[str, str]
    """Environment of Slurm's commands."""

    def slurm(self, *command: str) -> str:
        """What a command of Slurm's answers."""
        return subprocess.run(
            command, env=self.client, check=True, capture_output=True, text=True, timeout=HANGS_S
        ).stdout

    def state(self) -> str:
        return self.slurm("squeue", "--noheader", "--states=all", "--jobs", self.number, "--format=%T").strip()

    def is_under_way(self) -> bool:
        return self.state() in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture(scope="module")
def client() -> Iterator[dict[str, str]]:
    """Environment of a client of a cluster, the project's own environment activated."""
    with clusters.cluster(nodes=5, accounting="none") as environment:
        yield {**environment, "PATH": f"{BIN}:{environment['PATH']}"}


@pytest.fixture(scope="module")
def stopped(client: dict[str, str], images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """The three scripts, side by side, each asked to stop once in the middle, as before a time limit."""
    folder = tmp_path_factory.mktemp("jobs of a user")
    jobs = {name: submit(name, images, folder / name, client) for name in SCRIPTS}
    training, deadline = list(jobs.values()), time.monotonic() + HANGS_S
    while training:
        for job in [job for job in training if last_step(job.run) >= 5]:
            job.slurm("scancel", "--signal=USR2", job.number)
            training.remove(job)
        for job in training:
            assert job.is_under_way() and time.monotonic() < deadline, f"{job.state()}\n{job.text()}"
        time.sleep(0.05)
    return jobs


@pytest.fixture(scope="module")
def whole_pair(images: Path, tmp_path_factory: pytest.TempPathFactory, stopped: dict[str, Job]) -> Path:
    """The run that the jobs' must equal: two processes on one machine; made while the jobs wait to start again."""
    del stopped
    run = tmp_path_factory.mktemp("runs") / "pair"
    train(images, run, *SHORT, launcher="torchrun x2")
    return run


def submit(name: str, images: Path, run: Path, client: Mapping[str, str]) -> Job:
    nodes, processes = SCRIPTS[name]
    log = run.with_suffix(".log")
    flags = (*SMALL[1:], *SHORT, "--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1")
    command = ("sbatch", "--parsable", f"--nodes={nodes}", "--cpus-per-task=2", f"--output={log}")
    job = Job("", run, log, {**client, "PROCESSES": str(processes)})
    return Job(job.slurm(*command, str(FOLDER / f"{name}.sbatch"), *flags).strip(), run, log, client)


@pytest.mark.slurm
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_is_stopped_starts_again_and_loses_nothing(
    name: str, stopped: dict[str, Job], whole_pair: Path
) -> None:
    job = stopped[name]
    deadline = time.monotonic() + HANGS_S
    while job.is_under_way():
        assert time.monotonic() < deadline, job.text()
        time.sleep(0.2)
    assert job.state() == "COMPLETED", job.text()
    begun = [record for record in records(job.run) if record["kind"] == "start"]
    assert [(start["launcher"], start["world_size"]) for start in begun] == [("torchrun", 2)] * 2
    assert begun[1]["step"] in range(5, LAST_STEP), "stopped in the middle"
    assert "stopped cleanly; requeued" in job.text()
    assert same_bits(state(job.run), state(whole_pair))
    assert points(job.run) == points(whole_pair)


def test_the_status_of_a_cluster_that_does_not_run_is_told_at_once(tmp_path: Path) -> None:
    command = ["bash", str(FOLDER / "cluster"), "status"]
    environment = {"PATH": os.environ["PATH"], "SLURM_ROOT": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS_S)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"[cluster] ERROR: no cluster runs in {tmp_path}: {FOLDER / 'cluster'} start\n"
