"""From what a user wants to a job that waits. Loads submitit only to submit."""

import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from launch import pinned, run_state
from launch.job import Sweep, TrainJob
from launch.run_state import Snapshot
from launch.site import ClusterConfig, cluster_problems, path_problems
from launch.submission import LaunchFolder, Submission
from trainer import preflight
from trainer.exits import FAILED, refuse
from trainer.recipe.config import Recipe, SiteConfig, flags
from trainer.recipe.decode import InvalidConfigError, encode, range_problems
from trainer.rundir import RunDirectory
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One run on a cluster."""

    recipe: Recipe
    site: SiteConfig
    cluster: ClusterConfig
    code: Path | None = None
    """Code that an earlier submission pinned. None: as it is now."""

    @property
    def run(self) -> RunDirectory:
        """The run directory, from the root: the job starts elsewhere."""
        return RunDirectory(self.site.output.absolute())

    @property
    def folder(self) -> LaunchFolder:
        """What submitting leaves there."""
        return LaunchFolder(self.run.path)

    @property
    def placed(self) -> SiteConfig:
        """The site, its paths from the root as well."""
        manifests = self.site.manifests and self.site.manifests.absolute()
        return replace(self.site, data=self.site.data.absolute(), output=self.run.path, manifests=manifests)

    def job(self, sweep: Sweep | None = None) -> TrainJob:
        """The job that takes the run to its end."""
        return TrainJob(
            run=self.run.path,
            arguments=("train", str(self.run.recipe), *flags(self.placed)),
            cluster=self.cluster,
            sweep=sweep,
        )


def problems(wanted: Wanted) -> list[str]:
    """Why this cannot be submitted, one line each, for the user."""
    return (
        range_problems(wanted.cluster, flags=True)
        or [*cluster_problems(wanted.cluster), *path_problems("--output", str(wanted.run.path))]
        or preflight.problems(wanted.recipe, wanted.site, World(0, wanted.cluster.world_size))
    )


def machine_problems(cluster: ClusterConfig) -> list[str]:
    """Why this machine cannot submit."""
    from launch import slurm

    if cluster.cluster == "local" or slurm.available():
        return []
    return ["sbatch: not found on this machine; submit from a login node, or add --cluster local, or --dry-run"]


def jobs_there(runs: Sequence[Snapshot], cluster: ClusterConfig) -> dict[Path, str]:
    """The runs, by directory, that are in the hands of an earlier job, each with its id and state.

    Raises:
        InvalidConfigError: Slurm does not say how one of its jobs stands.
    """
    states = run_state.job_states(runs)
    queued = [(one.path, one.submission, states[one.path]) for one in runs if one.submission]
    silent = [
        f"{path}: whether its earlier job {earlier.job} is gone is not known ({state.reason}); try again"
        for path, earlier, state in queued
        if not state.is_known and earlier.kind == cluster.cluster == "slurm"  # what else runs, its holder shows
    ]
    if silent:
        raise InvalidConfigError(silent)
    return {path: f"{earlier.job} ({state})" for path, earlier, state in queued if state.is_there}


def submit(wanted: Wanted) -> int:
    """Queue a run that has no problems, and say how to follow it.

    Returns:
        Exit code.
    """
    if problems := machine_problems(wanted.cluster):
        return refuse(problems)
    if jobs := _queue([wanted], wanted.folder):
        sys.stdout.write(_guide(wanted, jobs[0]))
    return 0 if jobs else FAILED


def submit_array(runs: list[Wanted], sweep: Sweep) -> int:
    """Queue runs that have no problems and ask for the same, as one array.

    Returns:
        Exit code.
    """
    if problems := machine_problems(runs[0].cluster):
        return refuse(problems)
    if jobs := _queue(runs, LaunchFolder(sweep.root), sweep):
        sys.stdout.write(_array_guide(sweep, jobs))
    return 0 if jobs else FAILED


def _queue(runs: list[Wanted], folder: LaunchFolder, sweep: Sweep | None = None) -> list[str]:
    """The ids of their jobs; none, where Slurm refused, which is said then."""
    from launch import slurm

    new = [wanted for wanted in runs if not wanted.run.recipe.exists()]
    folder.make()
    for wanted in runs:
        _begin(wanted)
    code = runs[0].code or pinned.pin(folder.path)
    jobs = [wanted.job(sweep) for wanted in runs]
    try:
        ids = slurm.submit(jobs, folder.run.name, folder.path, code, sweep.parallel if sweep else 1)
    except slurm.RefusedError as error:
        for wanted in new:
            _withdraw(wanted)
        sys.stderr.write(f"Slurm refused the job: {error}\n{_mend(str(error))}")
        return []
    for wanted, job in zip(runs, ids, strict=True):
        _record(wanted, job, code, folder.path)
    return ids


def _record(wanted: Wanted, job: str, code: Path, logs: Path) -> None:
    """Write down that a run was queued as this job, whose log lies in `logs`."""
    from launch import slurm

    wanted.folder.cancelled.unlink(missing_ok=True)
    wanted.folder.record(
        Submission(
            job=job,
            kind=wanted.cluster.cluster,
            time=time.time(),
            log=str(slurm.log(logs, job)),
            code=str(code),
            commit=pinned.commit_of(code),
            request=encode(wanted.cluster),
            site=encode(wanted.placed),
        )
    )


def _begin(wanted: Wanted) -> None:
    wanted.run.make()
    wanted.run.begin(wanted.recipe)
    wanted.folder.make()


def _withdraw(wanted: Wanted) -> None:
    """Leave no run directory behind of a job that was never queued: the next may be of another recipe."""
    run = wanted.run
    run.recipe.unlink()
    shutil.rmtree(wanted.folder.path, ignore_errors=True)
    with suppress(OSError):  # the folder holds something that is not ours
        run.checkpoints.rmdir()
        run.path.rmdir()


def _guide(wanted: Wanted, job: str) -> str:
    run, launch = shlex.quote(str(wanted.run.path)), "provenet"
    state = "is queued" if wanted.cluster.cluster == "slurm" else "is running on this machine"
    return (
        f"job {job} {state}; it is started again as often as it takes\n"
        f"  run          {run}\n"
        f"  state        {launch} status {run}\n"
        f"  output       {launch} logs {run} --follow\n"
        f"  TensorBoard  tensorboard --logdir {run}\n"
        f"  save and end {launch} cancel {run}\n"
    )


def _array_guide(sweep: Sweep, jobs: list[str]) -> str:
    root, launch = shlex.quote(str(sweep.root)), "provenet"
    one = jobs[0] if len(jobs) == 1 else f"{jobs[0]} to {jobs[-1]}"
    return (
        f"{len(jobs)} runs are queued, {sweep.parallel} at a time, as {one}\n"
        f"  state        {launch} status {root}\n"
        f"  results      {sweep.root / 'summary.md'}\n"
        f"  output       {launch} logs {root}/NAME --follow\n"
        f"  TensorBoard  tensorboard --logdir {root}\n"
        f"  save and end {launch} cancel {root}/NAME\n"
    )


_MENDS = {
    "invalid partition": "--partition: `sinfo` lists those there are",
    "Invalid account": "--account or --partition: `sacctmgr show associations user=$USER` lists what you may use",
    "not permitted to use this partition": "--partition: `sinfo -o '%P %g'` shows each partition's groups",
    "accounting/QOS policy": "--nodes, --hours or --qos, or wait until other jobs have ended: `sacctmgr show qos` and "
    "`sacctmgr show associations user=$USER` show what you may ask for at a time",
    "job array": "the sweep: `scontrol show config | grep MaxArraySize` shows how many runs Slurm takes at once",
    "PartitionTimeLimit": "--hours: `sinfo -o '%P %l'` shows each partition's limit",
    "PartitionNodeLimit": "--nodes: `sinfo -o '%P %s'` shows how many a job may have",
    "PartitionConfig": "--nodes, --gpus-per-node, --cpus-per-process or --hours: the partition has no such nodes, or "
    "not so many; `sinfo -o '%P %D %c %m %G %l'` shows what there is",
    "BadConstraints": "--constraint or --exclude: no nodes are left; `sinfo -o '%P %D %f'` shows what there is",
    "node count": "--nodes: `sinfo` shows how many the partition has",
    "node configuration is not available": "--nodes, --gpus-per-node, --cpus-per-process, --memory-gb or --constraint: "
    "no node has so much; `sinfo -o '%P %D %c %m %G %f'` shows what they have",
    "More processors requested": "--nodes or --cpus-per-process: `sinfo -o '%P %D %c'` shows what there is",
    "time limit": "--hours: `sinfo -o '%P %l'` shows each partition's limit",
    "Invalid qos": "--qos: `sacctmgr show qos` lists those there are",
    "generic resource": "--gpus-per-node: `sinfo -o '%P %G'` shows the nodes' GPUs",
    "feature": "--constraint: `sinfo -o '%P %f'` lists the nodes' features",
    "reservation": "--reservation: `scontrol show reservation` lists those there are",
    "node name": "--exclude: `sinfo -N` lists the nodes",
}


def _mend(words: str) -> str:
    return next((f"  change {mend}\n" for sign, mend in _MENDS.items() if sign.lower() in words.lower()), "")
