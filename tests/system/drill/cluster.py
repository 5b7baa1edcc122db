"""A Slurm cluster on this machine for the time of a drill, by the script slurm/cluster."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.commands import HANGS_S

SCRIPT = Path(__file__).parents[3] / "slurm" / "cluster"


class ClusterError(RuntimeError):
    """A command of the cluster failed; the message holds its output."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes n1 to nN, which can be made to fail."""

    root: Path
    """Folder of all its files; a short path, as it holds sockets."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables for Slurm's commands."""
        return {**os.environ, "SLURM_ROOT": str(self.root), "SLURM_CONF": str(self.root / "etc" / "slurm.conf")}

    def start(self, nodes: int, cpus: int) -> None:
        """Start it.

        Raises:
            ClusterError: It does not start: not root, or packages are missing.
        """
        # on a busy machine a node takes longer than the script's 5 s to answer
        settings = {"NODES": str(nodes), "CPUS": str(cpus), "GPUS": "0", "ACCT": "none", "SLURMD_TIMEOUT": "10"}
        self._script("start", environment=settings)

    def stop(self) -> None:
        """Stop it, and remove its files."""
        self._script("wipe")

    def power_off(self, node: str) -> None:
        """Kill all processes of a node at once."""
        self._script("power-off", node)

    def start_node(self, node: str) -> None:
        """Start a node again that was powered off."""
        self._script("start-node", node)

    def cut(self, node: str) -> None:
        """Disconnect a node from the network; its processes run on."""
        self._script("cut", node)

    def uncut(self, node: str) -> None:
        """Connect it again."""
        self._script("uncut", node)

    def ask(self, *words: str) -> str:
        """The output of a Slurm command.

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
