"""What a job is, and the command that starts its processes. Standard library only: the login node needs no torch."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launch.site import ClusterConfig
from trainer.terminal import remark


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Runs that were queued together."""

    root: Path
    """Folder of their run directories."""
    parallel: int
    """Local ones at a time; Slurm counts its own."""
    local: bool

    def take_part(self, work: Callable[[], int]) -> int:
        """Do one run's work when it is its turn, and bring the table of all up to date."""
        from launch.array.slots import slot

        with slot(self.root / "launch", self.parallel) if self.local else nullcontext():
            code = work()
        if code == 0:
            self._refresh_table()
        return code

    def _refresh_table(self) -> None:
        """Write the table; that it fails is no failure of the run."""
        from launch.array import results

        try:
            results.refresh(self.root)
        except (OSError, ValueError, LookupError) as error:
            remark(f"{self.root}/{results.FILE} was not updated: {error}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """A run, to be taken to its end; submitit pickles it for the job to come."""

    run: Path
    """Run directory."""
    arguments: tuple[str, ...]
    """What follows `python -m trainer`."""
    cluster: ClusterConfig
    """What was asked of the cluster."""
    sweep: "Sweep | None" = None
    """What it is one run of."""

    def __call__(self) -> None:
        """Take the run as far as this job can, and end the process with the code that Slurm shall see."""
        from launch.supervise import supervise, take_signals

        take_signals()  # before it waits for its turn: a stop must end that
        work = partial(supervise, self.run, self.command(), self.cluster)
        code = self.sweep.take_part(work) if self.sweep else work()
        if code:
            sys.exit(code)

    def command(self) -> tuple[str, ...]:
        """What starts the processes, the output of each behind its rank."""
        trainer = ("-m", "trainer", *self.arguments)
        cluster = self.cluster
        if cluster.cluster == "local":
            # with no role, each line begins with [RANK]:
            launcher = ("-m", "torch.distributed.run", "--standalone", "--tee", "3", "--role", "")
            return (sys.executable, *launcher, "--nproc-per-node", str(cluster.tasks_per_node), *trainer)
        return (
            *("srun", "--label", "--kill-on-bad-exit=1", f"--nodes={cluster.nodes}"),
            *(f"--ntasks={cluster.world_size}", f"--ntasks-per-node={cluster.tasks_per_node}"),
            f"--cpus-per-task={cluster.cpus_per_process}",  # which srun does not take over from sbatch since 22.05
            *(sys.executable, "-u", *trainer),
        )
