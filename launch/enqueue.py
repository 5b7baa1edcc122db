"""Check what a user wants to run, and queue it. Loads submitit only to submit."""

import shlex
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from data.names import shown
from data.output_folder import exposed
from launch import container, pinned, run_state
from launch.array import results
from launch.array.sweep import Member
from launch.job import Sweep, TrainJob
from launch.run_state import Snapshot
from launch.site import ClusterConfig, cluster_problems, path_problems
from launch.submission import LaunchFolder, Submission
from trainer import imports, preflight
from trainer.exits import FAILED, note, refuse, say
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError, encode, range_problems
from trainer.rundir import RunDirectory
from trainer.terminal import write
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A run to be queued."""

    recipe: Recipe
    site: SiteConfig
    cluster: ClusterConfig
    code: Path | None = None
    """The archive of the code that an earlier submission made. None: the code as it is now."""

    @property
    def run(self) -> RunDirectory:
        """The run directory by its absolute path, as the job starts in another folder."""
        return RunDirectory(self.site.output.absolute())

    @property
    def folder(self) -> LaunchFolder:
        return LaunchFolder(self.run.path)

    @property
    def placed(self) -> SiteConfig:
        """The site with absolute paths."""
        optional = ("manifests", "train_labels", "val_labels")
        paths = {name: path and path.absolute() for name in optional for path in [getattr(self.site, name)]}
        return replace(self.site, data=self.site.data.absolute(), output=self.run.path, **paths)

    def job(self, code: Path, sweep: Sweep | None = None) -> TrainJob:
        return TrainJob(site=self.placed, cluster=self.cluster, code=code, sweep=sweep, files=self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """What the processes read besides their code; of weights from a run, the run."""
        site = self.placed
        weights = Path((self.recipe.init.weights or "").removeprefix("local-dir:")).absolute()
        run = next((each for each in weights.parents[:3] if RunDirectory(each).recipe.exists()), weights)
        begun = (run,) if self.recipe.init.weights and weights.exists() else ()
        return (site.data, *filter(None, (site.manifests, site.train_labels, site.val_labels)), *begun)


def problems(wanted: Wanted) -> list[str]:
    """Why this cannot be submitted."""
    return (
        range_problems(wanted.cluster, flags=True)
        or [*cluster_problems(wanted.cluster), *path_problems("--output", str(wanted.run.path))]
        or container.problems(wanted.cluster, (wanted.run.path, *wanted.files))
        or preflight.problems(wanted.recipe, wanted.site, World(0, wanted.cluster.world_size))
    )


def live_jobs(runs: Sequence[Snapshot], cluster: ClusterConfig) -> dict[Path, str]:
    """By run directory, the earlier jobs, with id and state, that are queued or running.

    Raises:
        InvalidConfigError: Slurm does not answer.
    """
    states = run_state.job_states(runs)
    queued = [(one.path, one.submission, states[one.path]) for one in runs if one.submission]
    unknown = [
        f"{path}: whether its earlier job {earlier.job} is gone is not known ({state.reason}); try again"
        for path, earlier, state in queued
        if not state.is_known and earlier.kind == cluster.cluster == "slurm"  # other processes hold the directory
    ]
    if unknown:
        raise InvalidConfigError(unknown)
    return {path: f"{earlier.job} ({state})" for path, earlier, state in queued if state.is_there}


def submit(runs: list[Wanted], sweep: Sweep | None = None, members: Sequence[Member] = ()) -> int:
    """Queue one run, or runs of a sweep as one array, and print how to watch them; none of them may have problems.

    Args:
        runs: To be queued.
        sweep: What they are part of.
        members: All runs of the sweep, for its table.

    Returns:
        Exit code.
    """
    from launch import slurm

    if runs[0].cluster.cluster == "slurm" and not slurm.available():
        return refuse(["sbatch: not on this machine; submit from a login node, or add --cluster local, or --dry-run"])
    folder = LaunchFolder(sweep.root) if sweep else runs[0].folder
    try:
        runs = [replace(wanted, recipe=_begun(wanted)) for wanted in runs]
    except InvalidConfigError as error:
        return refuse(error.problems)
    if jobs := _queue(runs, folder, sweep):
        if sweep:
            results.keep(sweep.root, members)  # before anything is printed, as that may fail
        write(_guide(runs, jobs, sweep))
        for warning in exposed(folder.run):
            note(warning)
    return 0 if jobs else FAILED


def _begun(wanted: Wanted) -> Recipe:
    """The recipe with what follows from the weights that a new run begins from, which is printed."""
    recipe, notes = preflight.begun(wanted.recipe, wanted.placed)
    write("".join(f"{shown(line)}\n" for line in notes))
    if notes and (problems := preflight.size_problems(recipe)):  # torch is loaded now: not only after hours in a queue
        raise InvalidConfigError(problems)
    return recipe


def _queue(runs: list[Wanted], folder: LaunchFolder, sweep: Sweep | None) -> list[str]:
    """The ids of their jobs; none if Slurm refused, after printing why."""
    from launch import slurm

    new = [wanted for wanted in runs if not wanted.run.recipe.exists()]
    folder.make()
    for wanted in runs:
        wanted.run.make()
        wanted.run.begin(wanted.recipe)
        wanted.folder.make()
    code = runs[0].code or pinned.pin(folder.path)
    jobs = [wanted.job(code, sweep) for wanted in runs]
    try:
        ids = slurm.submit(jobs, folder.run.name, folder.path, sweep.parallel if sweep else 1)
    except slurm.RefusedError as error:
        for wanted in new:
            _withdraw(wanted)
        say(f"Slurm refused the job: {error}\n{_advice(str(error))}".rstrip("\n"), FAILED)
        return []
    for wanted, job in zip(runs, ids, strict=True):
        _record(wanted, job, code, folder.path)
    return ids


def _record(wanted: Wanted, job: str, code: Path, logs: Path) -> None:
    """Write a run's submission record; the job writes its log to the folder `logs`."""
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


def _withdraw(wanted: Wanted) -> None:
    """Remove the run directory of a job that Slurm refused: the next try may be of another recipe."""
    run = wanted.run
    for file in (run.recipe, *(imports.copy(sha256, run.path) for sha256 in wanted.recipe.code or ())):
        file.unlink()
    shutil.rmtree(wanted.folder.path, ignore_errors=True)
    with suppress(OSError):  # the folder holds other files
        run.path.rmdir()


def _guide(runs: list[Wanted], jobs: list[str], sweep: Sweep | None) -> str:
    folder, name = shlex.quote(str(sweep.root if sweep else runs[0].run.path)), "/NAME" if sweep else ""
    if sweep:
        ids = jobs[0] if len(jobs) == 1 else f"{jobs[0]} to {jobs[-1]}"
        head = f"{len(jobs)} runs are queued, {sweep.parallel} at a time, as {ids}"
        files = f"results      {sweep.root / results.FILE}"
    else:
        state = "is queued" if runs[0].cluster.cluster == "slurm" else "is running on this machine"
        head, files = f"job {jobs[0]} {state}; it is started again until the run is finished", f"run          {folder}"
    return (
        f"{head}\n"
        f"  {files}\n"
        f"  state        provenet status {folder}\n"
        f"  output       provenet logs {folder}{name} --follow\n"
        f"  TensorBoard  tensorboard --logdir {folder}\n"
        f"  save and end provenet cancel {folder}{name}\n"
    )


_ADVICE = {
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
    "unrecognized option": "--sbatch: `man sbatch` lists the options there are",
    "node name": "--exclude: `sinfo -N` lists the nodes",
}


def _advice(refusal: str) -> str:
    return next((f"  change {advice}\n" for words, advice in _ADVICE.items() if words.lower() in refusal.lower()), "")
