"""A job and the command that starts its processes. Standard library only: the login node needs no torch."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data.durable import opened
from launch import container, pinned
from launch.site import ClusterConfig, options, words
from trainer.recipe.config import SiteConfig, flags
from trainer.recipe.decode import decode, encode
from trainer.rundir import RunDirectory
from trainer.terminal import remark

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Runs that were queued together."""

    root: Path
    """Folder of their run directories."""
    parallel: int
    """How many local ones run at a time; on Slurm the job array limits them."""
    local: bool

    def run_one(self, work: Callable[[], int]) -> int:
        """Do one run's work, a local one when a slot is free, and update the table of all runs."""
        from launch.array import results

        with slot(self.root / "launch", self.parallel) if self.local else nullcontext():
            code = work()
        try:
            if code == 0:
                results.refresh(self.root)
        except (OSError, ValueError, LookupError) as error:  # the run has succeeded nevertheless
            remark(f"{self.root}/{results.FILE} was not updated: {error}")
        return code


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """What a job does: it trains one run."""

    site: SiteConfig
    """With absolute paths."""
    cluster: ClusterConfig
    code: Path
    """The archive of the code."""
    sweep: "Sweep | None" = None
    """The sweep that the run is part of."""
    files: tuple[Path, ...] = ()
    """What the processes read besides their code, for a container."""

    def __call__(self) -> None:
        """Train as far as this job can, and end the process with the code that Slurm is to see."""
        from launch.supervise import supervise

        work = partial(supervise, self.site.output, self.command(), self.cluster)
        code = self.sweep.run_one(work) if self.sweep else work()
        if code:
            sys.exit(code)

    def command(self) -> tuple[str, ...]:
        """The command that starts the processes and labels each line of their output with its rank."""
        recipe = str(RunDirectory(self.site.output).recipe)
        trainer = (*pinned.command(self.code, "trainer"), "train", recipe, *flags(self.site))
        cluster = self.cluster
        if cluster.cluster == "local":
            # with no role, each line begins with [RANK]:
            launcher = ("-m", "torch.distributed.run", "--standalone", "--tee", "3", "--role", "", "--no-python")
            return (sys.executable, *launcher, "--nproc-per-node", str(cluster.tasks_per_node), *trainer)
        contained: tuple[str, ...] = ()
        if cluster.container:
            paths = (self.site.output, self.code.parent, *self.files)
            contained, python = container.start(cluster, self.site.output, paths)
            trainer = (*python, *trainer[1:])
        return (
            *("srun", "--label", "--kill-on-bad-exit=1", f"--nodes={cluster.nodes}"),
            *(f"--ntasks={cluster.world_size}", f"--ntasks-per-node={cluster.tasks_per_node}"),
            f"--cpus-per-task={cluster.cpus_per_process}",  # which srun does not inherit from sbatch since 22.05
            *words(options(cluster.srun)),
            *contained,
            *trainer,
        )


def together(jobs: Sequence[TrainJob]) -> str:
    """Jobs of an array, which differ in their run directories, in a line of JSON for its script, or a single job."""
    return json.dumps({"job": encode(jobs[0]), "runs": [str(job.site.output) for job in jobs]})


def own(text: str, environment: Mapping[str, str]) -> TrainJob:
    """The job of an array's task, or the only one, from what `together` returned."""
    content = json.loads(text)
    job, runs = decode(TrainJob, content["job"]), content["runs"]
    task = int(environment["SLURM_ARRAY_TASK_ID"]) if len(runs) > 1 else 0
    return replace(job, site=replace(job.site, output=Path(runs[task])))


@contextmanager
def slot(folder: Path, count: int) -> Generator[None]:
    """Wait for one of `count` locks, and hold it; the kernel releases it when this process dies."""
    while (file := _free(folder, count)) is None:
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(file)


def _free(folder: Path, count: int) -> int | None:
    """The first lock that no process holds, locked now, or None."""
    for number in range(count):
        file = opened(folder / f"slot-{number}", os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return file
    return None
