"""The one place that talks to submitit."""

import io
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from submitit import LocalExecutor, SlurmExecutor
from submitit.core.submission import process_job
from submitit.core.utils import FailedJobError, JobPaths
from submitit.slurm.slurm import _make_sbatch_string  # pyright: ignore[reportPrivateUsage] - no public way to preview

from launch import scheduler
from launch.job import TrainJob
from launch.site import ClusterConfig

VISIBLE_GPUS = "PROVENET_VISIBLE_GPUS"  # CUDA_VISIBLE_DEVICES of a local job, which submitit overwrites
HOPELESS = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")

_FOREVER_MIN = 10_000_000

# what sbatch takes from SBATCH_* before what its script asks for: what every script says, and what some do
_ALWAYS = (
    *("ARRAY_INX", "ERROR", "GPUS_PER_NODE", "JOB_NAME", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "SIGNAL", "TIMELIMIT"),
    "WAIT",
)
_WHERE_ASKED = {
    **{name: (name.upper(),) for name in ("partition", "account", "qos", "constraint", "reservation")},
    "memory_gb": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
}


class RefusedError(RuntimeError):
    """Slurm did not take the job; the message holds its words."""


class _Slurm(SlurmExecutor):
    @property
    def _submitit_command_str(self) -> str:
        return _worker(self.folder)


class _Local(LocalExecutor):
    @property
    def _submitit_command_str(self) -> str:
        return _worker(self.folder)


def available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None and shutil.which("srun") is not None


def submit(jobs: list[TrainJob], name: str, folder: Path, code: Path, parallel: int = 1) -> list[str]:
    """Queue jobs, several as one array; submitit keeps their scripts, pickles and logs in `folder`.

    Args:
        jobs: Alike in what they ask of the cluster.
        name: For the queue.
        folder: Private to the user.
        code: Folder of the pinned code.
        parallel: How many of an array may run at a time.

    Returns:
        Each job's id; of a local one, its process id.

    Raises:
        RefusedError: Slurm did not take it.
    """
    cluster = jobs[0].cluster
    if cluster.cluster == "local":
        return _submit_here(jobs, cluster, folder, code)
    executor = _Slurm(folder=folder)
    executor.update_parameters(**_parameters(cluster, name, code), array_parallelism=parallel)
    try:
        with _flags_rule(cluster), redirect_stderr(io.StringIO()):  # submitit prints what the error says
            ids = [job.job_id for job in executor.submit_array(jobs)]  # pyright: ignore[reportUnknownMemberType]
    except FailedJobError as error:
        raise RefusedError(str(error)) from error
    _withdraw_hopeless(ids)
    return ids


def _withdraw_hopeless(ids: list[str]) -> None:
    """Take back a job that by Slurm's word can never start; many clusters queue such a job nevertheless.

    Raises:
        RefusedError: It was one.
    """
    state = scheduler.states(ids[:1])[ids[0]]
    if state.is_pending and state.reason in HOPELESS:
        subprocess.run(["scancel", ids[0].partition("_")[0]], check=False, capture_output=True, timeout=60)
        raise RefusedError(f"{state.reason}: it would wait for ever")


def script(cluster: ClusterConfig, name: str, folder: Path, code: Path) -> str:
    """The sbatch script that `submit` would queue for one job."""
    return _make_sbatch_string(command=_worker(folder), folder=folder, **_parameters(cluster, name, code))


def log(folder: Path, job: str) -> Path:
    """Where a job's output goes."""
    return JobPaths(folder, job).stdout


def work(folder: Path) -> None:
    """Do the job that this process was started for, on the GPUs that the user has chosen."""
    if chosen := os.environ.pop(VISIBLE_GPUS, None):
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen
    process_job(folder)


@contextmanager
def _flags_rule(cluster: ClusterConfig) -> Generator[None]:
    """A user's own SBATCH_* stand in for flags that were not given, and overrule none in silence."""
    asked = [name for field, names in _WHERE_ASKED.items() if getattr(cluster, field) for name in names]
    before = dict(os.environ)
    for name in (*_ALWAYS, *asked):
        os.environ.pop(f"SBATCH_{name}", None)
    try:
        yield
    finally:
        os.environ.update(before)


def _worker(folder: Path) -> str:
    return shlex.join([sys.executable, "-u", "-m", "launch.worker", str(folder)])


def _submit_here(jobs: list[TrainJob], cluster: ClusterConfig, folder: Path, code: Path) -> list[str]:
    executor = _Local(folder=folder)
    executor.update_parameters(
        timeout_min=_FOREVER_MIN,
        gpus_per_node=cluster.gpus_per_node,
        tasks_per_node=1,
        stderr_to_stdout=True,
    )
    chosen = _visible(os.environ.get("CUDA_VISIBLE_DEVICES", ""), cluster.gpus_per_node)
    with _detached({**_variables(cluster, code), **chosen}):
        return [executor.submit(job).job_id for job in jobs]


def _visible(given: str, wanted: int) -> dict[str, str]:
    """The user's own choice of GPUs, for `work`: submitit takes no UUIDs and, without numbers, the first GPUs."""
    chosen = [name.strip() for name in given.split(",")][:wanted]
    return {VISIBLE_GPUS: ",".join(chosen)} if any(chosen) else {}


@contextmanager
def _detached(variables: dict[str, str]) -> Generator[None]:
    """What is started inside outlives this terminal, holds nothing of it open, and has the variables."""
    before = dict(os.environ)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = {number: os.dup(number) for number in (0, 1, 2)}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in kept:
            os.dup2(nothing, number)
        os.environ.update(variables)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGHUP, hang_up)


def _parameters(cluster: ClusterConfig, name: str, code: Path) -> dict[str, Any]:
    wanted = {
        "job_name": name,
        "nodes": cluster.nodes,
        "ntasks_per_node": cluster.tasks_per_node,
        "gpus_per_node": cluster.gpus_per_node or None,
        "cpus_per_task": cluster.cpus_per_process,
        "mem": f"{math.ceil(1024 * cluster.memory_gb)}M" if cluster.memory_gb else None,
        "time": math.ceil(60 * cluster.hours),
        "signal_delay_s": cluster.grace_s,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": cluster.exclude,
        "stderr_to_stdout": True,
        "use_srun": False,  # one process decides what follows; it starts the ranks by srun itself
        "setup": _exports(cluster, code),
        "additional_parameters": {
            "requeue": True,  # after a node failure or a preemption, by Slurm itself
            **({"reservation": cluster.reservation} if cluster.reservation else {}),
        },
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _exports(cluster: ClusterConfig, code: Path) -> list[str]:
    ours = [f"export {name}={shlex.quote(value)}" for name, value in _variables(cluster, code).items()]
    return [*ours[:-2], *cluster.setup, *ours[-2:]]  # what a module sets must not come before the pinned code


def _variables(cluster: ClusterConfig, code: Path) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in cluster.env)
    named = {name: value if given else os.environ[name] for name, given, value in pairs}
    interfaces = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if cluster.interface else ()
    return {
        **named,
        **dict.fromkeys(interfaces, str(cluster.interface)),
        "PYTHONPATH": os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONSAFEPATH": "1",  # nothing comes before that, not even the folder in which the job was submitted
    }
