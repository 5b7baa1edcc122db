"""Keeps a requeued job off nodes whose GPUs are faulty. Standard library only."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress

from launch.attempts import Attempt
from launch.site import ClusterConfig
from trainer import records
from trainer.rundir import RunDirectory
from trainer.terminal import remark

_FLAGS = ("partition", "account", "qos", "constraint", "reservation")


def faulty(run: RunDirectory, attempt: Attempt, cluster: ClusterConfig, before: Iterable[str] = ()) -> dict[str, str]:
    """The nodes of an attempt whose GPUs were faulty at its start, and what was wrong.

    None if the job could not start without them and those excluded `before`.
    """
    if cluster.cluster == "local":
        return {}
    found: dict[str, str] = {}
    with suppress(OSError, LookupError, TypeError, ValueError):  # of a damaged record
        for start in records.starts(run.metrics):
            if start["time"] >= attempt.time:
                found = dict(start.get("gpu_faults", {}))
    if not found:
        return {}
    flags = [f"--{name}={value}" for name in _FLAGS if (value := getattr(cluster, name))]
    flags += [f"--nodes={cluster.nodes}", f"--ntasks-per-node={cluster.tasks_per_node}"]
    flags += [f"--cpus-per-task={cluster.cpus_per_process}", f"--exclude={_listed(cluster, [*before, *found])}"]
    flags += [f"--gpus-per-node={cluster.gpus_per_node}"] if cluster.gpus_per_node else []
    if problem := _refused("sbatch", "--test-only", *flags, "--wrap=:"):
        remark(f"{', '.join(found)} not excluded in spite of faulty GPUs: {problem}")
        return {}
    return found


def exclude(cluster: ClusterConfig, nodes: Iterable[str]) -> bool:
    """Exclude nodes from the next start of this job, which has just been requeued: before, Slurm does not take it."""
    listed = _listed(cluster, nodes)
    problem = _refused("scontrol", "update", f"jobid={os.environ['SLURM_JOB_ID']}", f"ExcNodeList={listed}")
    if problem:
        remark(f"{listed} not excluded in spite of faulty GPUs: {problem}")
    return not problem


def _listed(cluster: ClusterConfig, nodes: Iterable[str]) -> str:
    return ",".join(filter(None, (cluster.exclude, *nodes)))


def _refused(*command: str) -> str:
    """Why Slurm refuses a command; empty if it does not."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
