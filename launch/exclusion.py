"""Keeps a requeued job off nodes whose GPUs are faulty. Standard library only."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress

from launch.attempts import Attempt
from launch.site import ClusterConfig, options, requests, words
from trainer import records
from trainer.rundir import RunDirectory
from trainer.terminal import remark


def faulty(run: RunDirectory, attempt: Attempt, cluster: ClusterConfig, before: Iterable[str]) -> dict[str, str]:
    """The nodes of an attempt whose GPUs were faulty at its start, and what was wrong.

    Empty if the job could not start without them and those excluded `before`.
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
    asked = requests(cluster) | {"exclude": _listed(cluster, [*before, *found])} | options(cluster.sbatch)
    return found if _takes(found, "sbatch", "--test-only", *words(asked), "--wrap=:") else {}


def exclude(cluster: ClusterConfig, nodes: Iterable[str]) -> bool:
    """Exclude nodes from the next start of this job, which has just been requeued: before, Slurm does not take it."""
    job = os.environ["SLURM_JOB_ID"]
    return _takes(nodes, "scontrol", "update", f"jobid={job}", f"ExcNodeList={_listed(cluster, nodes)}")


def _listed(cluster: ClusterConfig, nodes: Iterable[str]) -> str:
    return ",".join(filter(None, (cluster.exclude, *nodes)))


def _takes(nodes: Iterable[str], *command: str) -> bool:
    """Whether Slurm takes a command by which nodes are excluded; prints why not."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=60)
        problem = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        remark(f"{', '.join(nodes)} not excluded, in spite of faulty GPUs: {problem}")
    return not problem
