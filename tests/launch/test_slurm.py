import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import slurm
from launch.job import TrainJob
from launch.site import ClusterConfig
from tests.commands import HANGS_S
from trainer.recipe.config import SiteConfig


def script(cluster: ClusterConfig) -> list[str]:
    site = SiteConfig(data=Path("/d"), output=Path("/r"))
    job = TrainJob(site=site, cluster=cluster, code=Path("/r/launch/code-12.zip"))
    return slurm.script(job, "r50", Path("/r/launch")).splitlines()


def test_a_script_asks_for_what_was_asked_for() -> None:
    cluster = ClusterConfig(
        nodes=2, gpus_per_node=8, cpus_per_process=12, memory_gb=1.5, hours=1.26, grace_s=90, partition="gpu",
        account="lab", qos="high", constraint="h100&ib", exclude="n[1-2]", reservation="paper",
    )  # fmt: skip
    expected = {
        *(
            "job-name=r50",
            "nodes=2",
            "ntasks-per-node=8",
            "gpus-per-node=8",
            "cpus-per-task=12",
            "mem=1536M",
            "time=76",
        ),
        *("signal=USR2@90", "partition=gpu", "account=lab", "qos=high", "constraint='h100&ib'", "exclude='n[1-2]'"),
        *("reservation=paper", "requeue", "open-mode=append", "output=/r/launch/%j_0_log.out"),
    }
    assert {f"#SBATCH --{option}" for option in expected} <= set(script(cluster))


def test_options_of_a_site_go_into_the_script_as_they_are() -> None:
    lines = script(ClusterConfig(sbatch=("mail-type=NONE", "comment=it's $(here)", "exclusive", "mail-type=END")))
    assert {"#SBATCH --mail-type=END", "#SBATCH --comment='it'\"'\"'s $(here)'", "#SBATCH --exclusive"} <= {*lines}
    assert not any(line.endswith("=NONE") for line in lines)  # of the site, before a flag


def test_a_variable_applies_unless_a_flag_says_otherwise() -> None:
    given = {f"SBATCH_{name}": "x" for name in ("QOS", "PARTITION", "TIMELIMIT", "CORE_SPEC", "EXPORT")} | {"PATH": "x"}
    cluster = ClusterConfig(partition="gpu", sbatch=("core-spec=1",))
    assert slurm.applying(cluster, given) == {"SBATCH_EXPORT": "x", "SBATCH_QOS": "x"}


def test_what_was_not_asked_for_is_the_clusters_choice() -> None:
    text = "\n".join(line for line in script(ClusterConfig()) if line.startswith(("#SBATCH", "export")))
    for option in ("gpus", "mem", "partition", "account", "qos", "constraint", "exclude", "reservation", "SOCKET"):
        assert option not in text


def test_a_setup_comes_after_the_variables() -> None:
    lines = script(ClusterConfig(env=("A=1",), setup=("module load cuda",), interface="ib0"))
    start = lines.index("# setup") + 1
    assert lines[start : start + 5] == [
        *("export A=1", "export GLOO_SOCKET_IFNAME=ib0", "export NCCL_SOCKET_IFNAME=ib0"),
        *("export PYTHONSAFEPATH=1", "module load cuda"),
    ]


@pytest.mark.parametrize("srun", [True, False])
def test_a_login_node_has_sbatch_and_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, srun: bool) -> None:
    for name in ("sbatch", *(("srun",) if srun else ())):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.available() == srun


# what it starts lives on: it waits for a word, and writes down that and what it was given
DETACHED = """
import os, sys
from launch.slurm import _start
before = (dict(os.environ), [os.fstat(number) for number in (0, 1, 2)])
script = 'exec 3< "$1"; echo nobody reads this; read word <&3; echo "$GIVEN $word" > "$2"'
child = _start(["sh", "-c", script, "sh", *sys.argv[1:3]], {**os.environ, "GIVEN": "it's"})
after = (dict(os.environ), [os.fstat(number) for number in (0, 1, 2)])
print(child.pid, before == after)
os._exit(0)  # no word on the child that is left
"""


def test_a_local_job_lives_on_and_holds_nothing_of_the_terminal(tmp_path: Path) -> None:
    """The pipe ends with the command although the job has not begun to end; no signal of its terminal reaches it."""
    os.mkfifo(tmp_path / "go")
    done = subprocess.run(
        [sys.executable, "-c", DETACHED, str(tmp_path / "go"), str(tmp_path / "told")],
        capture_output=True,
        text=True,
        timeout=HANGS_S,
    )
    job, same = done.stdout.split()
    assert (same, done.stderr) == ("True", "")
    assert os.getsid(int(job)) == os.getpgid(int(job)) == int(job)  # so neither Ctrl-C nor a hang-up
    assert not (tmp_path / "told").exists()
    with (tmp_path / "go").open("w") as stream:  # waits for the job, which lives then
        stream.write("lives\n")
    with subprocess.Popen(["tail", f"--pid={job}", "-s", "0.01", "-f", "/dev/null"]) as until_it_has_ended:
        until_it_has_ended.wait(timeout=HANGS_S)
    assert (tmp_path / "told").read_text() == "it's lives\n"


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("2,3", 2, "2,3"),
        ("2, 3", 1, "2"),
        ("2", 2, "2"),  # too few: the run refuses two processes on one GPU
        ("GPU-1a2b,GPU-3c4d", 2, "GPU-1a2b,GPU-3c4d"),
        ("MIG-1a2b", 1, "MIG-1a2b"),
        ("", 2, "0,1"),
        ("0,1", 0, ""),  # on CPUs
    ],
)
def test_a_local_run_keeps_to_the_gpus_that_the_user_has_chosen(given: str, wanted: int, expected: str) -> None:
    assert slurm._visible(given, wanted) == expected
