import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import pinned
from launch.array import results
from launch.array.sweep import Member
from launch.job import Sweep, TrainJob, own, slot, together
from launch.site import ClusterConfig
from launch.submission import LaunchFolder
from tests.commands import HANGS_S
from tests.launch import stand_ins
from trainer.recipe.config import SiteConfig

CODE = Path("/r/launch/code-12.zip")
TRAIN = (*pinned.command(CODE, "trainer"), "train", "/r/recipe.yaml", "--data", 'it\'s "here"', "--output", "/r")


def job(cluster: ClusterConfig, run: str = "/r", sweep: Sweep | None = None) -> TrainJob:
    site = SiteConfig(data=Path('it\'s "here"'), output=Path(run))
    return TrainJob(site=site, cluster=cluster, code=CODE, sweep=sweep)


def test_srun_starts_a_process_for_each_rank() -> None:
    words = job(ClusterConfig(nodes=2, gpus_per_node=4, cpus_per_process=8, srun=("mpi=none", "exact"))).command()
    assert words[0] == "srun"
    assert words[-len(TRAIN) - 5 :][: words[-len(TRAIN) - 5 :].index("--exact") + 1][-2:] == ("--mpi=none", "--exact")
    assert {"--nodes=2", "--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=8"} <= set(words)
    assert words[-len(TRAIN) :] == TRAIN


def test_torchrun_starts_them_on_this_machine() -> None:
    words = job(ClusterConfig(cluster="local", processes_per_node=3)).command()
    assert words[:3] == (sys.executable, "-m", "torch.distributed.run")
    assert words[words.index("--nproc-per-node") + 1] == "3"
    assert words[-1 - len(TRAIN) :] == ("3", *TRAIN)


def test_a_job_outlives_the_process_that_queued_it() -> None:
    queued = job(ClusterConfig(env=("A=1",), setup=("x",), memory_gb=1.5))
    assert own(together([queued]), {"SLURM_ARRAY_TASK_ID": "3"}) == queued  # of a job that started a local one


def test_a_task_of_an_array_has_the_run_of_its_number() -> None:
    sweep = Sweep(root=Path("/r"), parallel=2, local=False)
    jobs = [job(ClusterConfig(), f"/r/{name}", sweep) for name in ("a", "b\udcff", "it's")]
    assert [own(together(jobs), {"SLURM_ARRAY_TASK_ID": str(task)}) for task in range(3)] == jobs


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    LaunchFolder(tmp_path).make()
    results.keep(tmp_path, [Member(name="seed=0", settings={"seed": 0})])
    return Sweep(root=tmp_path, parallel=1, local=False)


def test_a_run_that_finishes_brings_the_table_up_to_date(sweep: Sweep) -> None:
    def work() -> int:
        stand_ins.finish(sweep.root / "seed=0", top1=50)
        return 0

    assert sweep.run_one(work) == 0
    assert "| recipe | 1 of 1 | 50.00 | 90.00 |" in (sweep.root / "summary.md").read_text()


def test_a_table_that_cannot_be_written_is_no_failure_of_the_run(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_ins.finish(sweep.root / "seed=0", top1=50)
    (sweep.root / "seed=0" / "result.json").write_text("{")
    assert sweep.run_one(lambda: 0) == 0
    assert f"launch: {sweep.root}/summary.md was not updated: " in capsys.readouterr().err


def test_a_run_that_does_not_finish_leaves_the_table_alone(sweep: Sweep) -> None:
    before = (sweep.root / "summary.md").stat().st_mtime_ns
    assert sweep.run_one(lambda: 75) == 75
    assert (sweep.root / "summary.md").stat().st_mtime_ns == before


# another run has its slot
WAITING = """
import sys
from pathlib import Path
from launch import job
from launch.job import Sweep, TrainJob
from launch.site import ClusterConfig
from trainer.recipe.config import SiteConfig
locked, job._free = job._free, lambda folder, count: print("waits", flush=True) or locked(folder, count)
root = Path(sys.argv[1])
sweep = Sweep(root=root, parallel=1, local=True)
TrainJob(site=SiteConfig(data=root, output=root), cluster=ClusterConfig(), code=root, sweep=sweep)()
"""


def test_a_run_that_waits_for_its_turn_can_be_stopped(sweep: Sweep) -> None:
    command = [sys.executable, "-c", WAITING, str(sweep.root)]
    with slot(sweep.root / "launch", 1), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout and waiting.stdout.readline() == "waits\n"
        waiting.terminate()
        assert waiting.wait(timeout=HANGS_S) == -signal.SIGTERM
