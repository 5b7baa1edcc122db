"""Real Slurm clusters on this machine, for as long as a test file needs one."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "slurm" / "cluster"


@contextmanager
def cluster(nodes: int, accounting: str, gpus: int = 0) -> Iterator[dict[str, str]]:
    """Environment of a client of a cluster, whose folder has a short path: it holds sockets.

    `gpus`: of each node, as far as Slurm knows.
    """
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as root:
        settings = {"NODES": str(nodes), "CPUS": "2", "GPUS": str(gpus), "ACCT": accounting, "SLURMD_TIMEOUT": "60"}
        environment = {**os.environ, **settings, "SLURM_ROOT": root, "SLURM_CONF": f"{root}/etc/slurm.conf"}
        subprocess.run([SCRIPT, "start"], env=environment, check=True)
        yield environment
        subprocess.run([SCRIPT, "stop"], env=environment, check=True)
