"""Submit jobs through submitit.

The script holds the jobs themselves and the hash of their code, and Slurm keeps a copy of the script: whoever else can
write the run directory changes neither. For the same reason sbatch reads it from a private folder.
"""

import io
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from submitit import LocalExecutor, SlurmExecutor
from submitit.core.utils import FailedJobError, JobPaths
from submitit.local.local import LocalJob
from submitit.slurm.slurm import _make_sbatch_string  # pyright: ignore[reportPrivateUsage] - no public way to preview

from launch import container, pinned, scheduler
from launch.job import TrainJob, together
from launch.site import ClusterConfig, options, requests

NEVER_STARTS = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")

_FOREVER_S = "1000000000"

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


class _Script:
    command: str

    @property
    def _submitit_command_str(self) -> str:
        return self.command


class _Slurm(_Script, SlurmExecutor):
    pass


class _Local(_Script, LocalExecutor):
    """Starts submitit's controller in a session of its own, which no Ctrl-C and no hang-up of this terminal reaches."""

    variables: Mapping[str, str]

    def _submit_command(self, command: str) -> LocalJob[Any]:
        # as submitit.local.local.start_controller, which leaves the controller in our process group
        environment = {
            **os.environ,
            **self.variables,
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_COMMAND": command,
            "SUBMITIT_LOCAL_NTASKS": "1",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_TIMEOUT_S": _FOREVER_S,
            "SUBMITIT_LOCAL_SIGNAL_DELAY_S": "30",
            "SUBMITIT_LOCAL_WITH_SHELL": "",
            "SUBMITIT_STDERR_TO_STDOUT": "1",
        }
        process = _start([sys.executable, "-m", "submitit.local._local", str(self.folder)], environment)
        return LocalJob(self.folder, str(process.pid), process=process)


def _start(words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, in a session of its own and with /dev/null as its streams."""
    null = subprocess.DEVNULL
    return subprocess.Popen(words, env=environment, start_new_session=True, stdin=null, stdout=null, stderr=null)


def available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None and shutil.which("srun") is not None


def submit(jobs: list[TrainJob], name: str, folder: Path, parallel: int = 1) -> list[str]:
    """Queue jobs, several as one array.

    Args:
        jobs: All with the same settings but for their run directories.
        name: Shown in the queue.
        folder: Of their logs.
        parallel: How many of an array may run at a time.

    Returns:
        Each job's id; of a local one, its process id.

    Raises:
        RefusedError: Slurm refused it.
    """
    cluster = jobs[0].cluster
    if cluster.cluster == "local":
        return _submit_here(jobs, folder)
    with tempfile.TemporaryDirectory(prefix="provenet-") as own:
        executor = _Slurm(folder=own)
        executor.command = _worker(jobs)
        executor.update_parameters(**_parameters(jobs, name, folder), array_parallelism=parallel)
        try:
            with _without_overrides(cluster), redirect_stderr(io.StringIO()):  # submitit also prints the error
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


def script(job: TrainJob, name: str, folder: Path) -> str:
    """The sbatch script that `submit` would queue for one job."""
    return _make_sbatch_string(command=_worker([job]), folder=folder, **_parameters([job], name, folder))


def log(folder: Path, job: str) -> Path:
    """The file of a job's output."""
    return JobPaths(folder, job).stdout


def applying(cluster: ClusterConfig, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables SBATCH_* that act on a job, as none of its flags says otherwise."""
    flags = [name for field, names in _IF_SET.items() if getattr(cluster, field) for name in names]
    flags += [key.replace("-", "_").upper() for key in options(cluster.sbatch)]
    hidden = {f"SBATCH_{name}" for name in (*_ALWAYS, *flags)}
    theirs = {name: value for name, value in sorted(environment.items()) if name.startswith("SBATCH_")}
    return {name: value for name, value in theirs.items() if name not in hidden}


@contextmanager
def _without_overrides(cluster: ClusterConfig) -> Generator[None]:
    """Hide variables SBATCH_* that would override flags."""
    before, kept = dict(os.environ), applying(cluster)
    for name in [name for name in os.environ if name.startswith("SBATCH_") and name not in kept]:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)


def _worker(jobs: list[TrainJob]) -> str:
    """The shell's command that runs the jobs, and its input."""
    return f"{shlex.join(pinned.command(jobs[0].code, 'launch.worker'))} <<'JOBS'\n{together(jobs)}\nJOBS"


def _submit_here(jobs: list[TrainJob], folder: Path) -> list[str]:
    executor, cluster, ids = _Local(folder=folder), jobs[0].cluster, list[str]()
    gpus = _visible(os.environ.get("CUDA_VISIBLE_DEVICES", ""), cluster.gpus_per_node)
    executor.variables = {**_variables(cluster), "CUDA_VISIBLE_DEVICES": gpus}
    for job in jobs:
        executor.command = shlex.join(["bash", "-c", f"exec {_worker([job])}"])
        ids.append(executor.submit(job).job_id)
    return ids


def _visible(devices: str, count: int) -> str:
    """The first `count` GPUs of the user's choice; without one, those of the machine."""
    chosen = [name.strip() for name in devices.split(",")][:count]
    return ",".join(chosen if any(chosen) else map(str, range(count)))


def _parameters(jobs: list[TrainJob], name: str, folder: Path) -> dict[str, Any]:
    cluster, task = jobs[0].cluster, "%j" if len(jobs) == 1 else "%A_%a"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in _variables(cluster).items()]
    asked = requests(cluster)
    unknown = {"reservation": asked.pop("reservation")} if cluster.reservation else {}  # to submitit
    return {
        "job_name": name,
        **{key.replace("-", "_"): value for key, value in asked.items()},
        "time": math.ceil(60 * cluster.hours),
        "signal_delay_s": cluster.grace_s,
        "stderr_to_stdout": True,
        "use_srun": False,  # the script starts `supervise`, which starts the ranks by srun
        "setup": [*exports, *cluster.setup],
        "additional_parameters": {
            "output": str(log(folder, task)),
            "requeue": True,  # after a node failure or a preemption, by Slurm itself
            **unknown,
            **options(cluster.sbatch),
        },
    }


def _variables(cluster: ClusterConfig) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in cluster.env)
    named = {name: value if equals else os.environ[name] for name, equals, value in pairs}
    interfaces = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if cluster.interface else ()
    return {
        **({"TMPDIR": container.TEMPORARY} if cluster.container else {}),
        **named,
        **dict.fromkeys(interfaces, str(cluster.interface)),
        "PYTHONSAFEPATH": "1",  # the folder in which the job was submitted does not come first
    }
