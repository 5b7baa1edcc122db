"""A Slurm cluster on this machine while a drill takes place, through slurm/cluster."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.commands import HANGS_S

SCRIPT = Path(__file__).parents[3] / "slurm" / "cluster"


class ClusterError(RuntimeError):
    """The cluster did not do what it was told; the message holds its words."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes n1 to nN of one CPU each, which can be failed as real ones fail."""

    root: Path
    """Everything that the cluster writes; a short path, for it holds sockets."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a client."""
        return {**os.environ, "SLURM_ROOT": str(self.root), "SLURM_CONF": str(self.root / "etc" / "slurm.conf")}

    def start(self, nodes: int, cpus: int) -> None:
        """Bring it up.

        Raises:
            ClusterError: It does not come up: no root, or packages are missing.
        """
        # on a busy machine a node takes longer than the script's 5 s to answer
        settings = {"NODES": str(nodes), "CPUS": str(cpus), "GPUS": "0", "ACCT": "none", "SLURMD_TIMEOUT": "10"}
        self._script("start", environment=settings)

    def stop(self) -> None:
        """Take it down; leaves no process and no interface."""
        self._script("wipe")

    def power_off(self, node: str) -> None:
        """Kill everything on a node at once."""
        self._script("power-off", node)

    def start_node(self, node: str) -> None:
        """Bring a node back that was powered off."""
        self._script("start-node", node)

    def cut(self, node: str) -> None:
        """Take a node off the network; what runs there runs on."""
        self._script("cut", node)

    def uncut(self, node: str) -> None:
        """Put it back."""
        self._script("uncut", node)

    def ask(self, *words: str) -> str:
        """What a Slurm command prints.

        Raises:
            ClusterError: It fails.
        """
        return self._call(words, self.environment)

    def _script(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self._call((str(SCRIPT), *words), self.environment | (environment or {}))

    def _call(self, words: tuple[str, ...], environment: dict[str, str]) -> str:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=HANGS_S)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().removeprefix("[cluster] ERROR: ")
            raise ClusterError(f"{Path(words[0]).name} {' '.join(words[1:])}: {said}")
        return done.stdout
