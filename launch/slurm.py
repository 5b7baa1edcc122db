"""Submit jobs through submitit, and run them."""

import io
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
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
NEVER_STARTS = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")

_FOREVER_MIN = 10_000_000

# sbatch prefers its variables SBATCH_* to the lines of a script: those of lines in every script, and in some
_ALWAYS = (
    *("ARRAY_INX", "ERROR", "GPUS_PER_NODE", "JOB_NAME", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "SIGNAL", "TIMELIMIT"),
    "WAIT",
)
_IF_SET = {
    **{name: (name.upper(),) for name in ("partition", "account", "qos", "constraint", "reservation")},
    "memory_gb": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
}


class RefusedError(RuntimeError):
    """Slurm refused the job; the message is Slurm's."""


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
    """Queue jobs, several as one array; submitit writes their scripts, pickles and logs to `folder`.

    Args:
        jobs: All with the same cluster settings.
        name: Shown in the queue.
        folder: Only its owner may write there.
        code: Folder of the copy of the code.
        parallel: How many of an array may run at a time.

    Returns:
        Each job's id; of a local one, its process id.

    Raises:
        RefusedError: Slurm refused it.
    """
    cluster = jobs[0].cluster
    if cluster.cluster == "local":
        return _submit_here(jobs, cluster, folder, code)
    executor = _Slurm(folder=folder)
    executor.update_parameters(**_parameters(cluster, name, code), array_parallelism=parallel)
    try:
        with _environment({}, _overriding(cluster)), redirect_stderr(io.StringIO()):  # submitit also prints the error
            ids = [job.job_id for job in executor.submit_array(jobs)]  # pyright: ignore[reportUnknownMemberType]
    except FailedJobError as error:
        raise RefusedError(str(error)) from error
    _check_start(ids)
    return ids


def _check_start(ids: list[str]) -> None:
    """Cancel a job whose reason to wait says that it can never start; many clusters queue such jobs.

    Raises:
        RefusedError: It was one.
    """
    state = scheduler.states(ids[:1])[ids[0]]
    if state.is_pending and state.reason in NEVER_STARTS:
        subprocess.run(["scancel", ids[0].partition("_")[0]], check=False, capture_output=True, timeout=60)
        raise RefusedError(f"{state.reason}: it would never start")


def script(cluster: ClusterConfig, name: str, folder: Path, code: Path) -> str:
    """The sbatch script that `submit` would queue for one job."""
    return _make_sbatch_string(command=_worker(folder), folder=folder, **_parameters(cluster, name, code))


def log(folder: Path, job: str) -> Path:
    """The file of a job's output."""
    return JobPaths(folder, job).stdout


def work(folder: Path) -> None:
    """Run the job that is pickled in the folder, on the GPUs that the user has chosen."""
    if chosen := os.environ.pop(VISIBLE_GPUS, None):
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen
    process_job(folder)


def _overriding(cluster: ClusterConfig) -> list[str]:
    """Variables SBATCH_* that would override flags; others apply, as to every sbatch."""
    flags = [name for field, names in _IF_SET.items() if getattr(cluster, field) for name in names]
    return [f"SBATCH_{name}" for name in (*_ALWAYS, *flags)]


@contextmanager
def _environment(variables: Mapping[str, str], without: Iterable[str] = ()) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    for name in without:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _worker(folder: Path) -> str:
    return shlex.join([sys.executable, "-u", "-m", "launch.worker", str(folder)])


def _submit_here(jobs: list[TrainJob], cluster: ClusterConfig, folder: Path, code: Path) -> list[str]:
    executor = _Local(folder=folder)
    gpus = cluster.gpus_per_node
    executor.update_parameters(timeout_min=_FOREVER_MIN, gpus_per_node=gpus, tasks_per_node=1, stderr_to_stdout=True)
    with _detached({**_variables(cluster, code), **_visible(os.environ.get("CUDA_VISIBLE_DEVICES", ""), gpus)}):
        return [executor.submit(job).job_id for job in jobs]


def _visible(devices: str, count: int) -> dict[str, str]:
    """The user's choice of GPUs, for `work`: submitit refuses UUIDs and, without numbers, uses the first GPUs."""
    chosen = [name.strip() for name in devices.split(",")][:count]
    return {VISIBLE_GPUS: ",".join(chosen)} if any(chosen) else {}


@contextmanager
def _detached(variables: Mapping[str, str]) -> Generator[None]:
    """Processes started inside have the variables and /dev/null as streams, and survive the end of this terminal."""
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    copies = {number: os.dup(number) for number in (0, 1, 2)}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in copies:
            os.dup2(nothing, number)
        with _environment(variables):
            yield
    finally:
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)
        signal.signal(signal.SIGHUP, hang_up)


def _parameters(cluster: ClusterConfig, name: str, code: Path) -> dict[str, Any]:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in _variables(cluster, code).items()]
    parameters = {
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
        "use_srun": False,  # the script starts `supervise`, which starts the ranks by srun
        "setup": [*exports[:-2], *cluster.setup, *exports[-2:]],  # a module's PYTHONPATH must not precede our code's
        "additional_parameters": {
            "requeue": True,  # after a node failure or a preemption, by Slurm itself
            **({"reservation": cluster.reservation} if cluster.reservation else {}),
        },
    }
    return {key: value for key, value in parameters.items() if value is not None}


def _variables(cluster: ClusterConfig, code: Path) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in cluster.env)
    named = {name: value if equals else os.environ[name] for name, equals, value in pairs}
    interfaces = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if cluster.interface else ()
    return {
        **named,
        **dict.fromkeys(interfaces, str(cluster.interface)),
        "PYTHONPATH": os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONSAFEPATH": "1",  # the folder in which the job was submitted does not come first
    }
