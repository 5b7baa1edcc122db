"""The one place that talks to submitit."""

import math
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.slurm.slurm import _make_sbatch_string  # pyright: ignore[reportPrivateUsage] - no public way to preview

from launch.job import TrainJob
from launch.site import ClusterConfig


class RefusedError(RuntimeError):
    """Slurm did not take the job; the message holds its words."""


def available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None and shutil.which("srun") is not None


def submit(job: TrainJob, cluster: ClusterConfig, name: str, folder: Path) -> str:
    """Queue the job; submitit keeps its script, pickle and logs in `folder`.

    Returns:
        The job's id.

    Raises:
        RefusedError: Slurm did not take it.
    """
    executor = SlurmExecutor(folder=folder)
    executor.update_parameters(**_parameters(cluster, name))
    try:
        return executor.submit(job).job_id
    except FailedJobError as error:
        raise RefusedError(str(error)) from error


def script(cluster: ClusterConfig, name: str, folder: Path) -> str:
    """The sbatch script that `submit` would queue."""
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder)])
    return _make_sbatch_string(command=command, folder=folder, **_parameters(cluster, name))


def _parameters(cluster: ClusterConfig, name: str) -> dict[str, Any]:
    wanted = {
        "job_name": name,
        "nodes": cluster.nodes,
        "ntasks_per_node": cluster.tasks_per_node,
        "gpus_per_node": cluster.gpus_per_node or None,
        "cpus_per_task": cluster.cpus_per_process,
        "mem": f"{math.ceil(1024 * cluster.memory_gb)}M" if cluster.memory_gb else None,
        "time": math.ceil(60 * cluster.hours),
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "stderr_to_stdout": True,
    }
    return {key: value for key, value in wanted.items() if value is not None}
