"""A training loop that is given turns, in one process or in several ranks."""

from tests.benchmarks.config import LoopTask
from tests.benchmarks.contestant import Contestant, environment
from trainer.cpus import ALLOCATOR


class LoopContestant:
    """One loop."""

    peak = 0
    """Bytes that rank 0 has held at most."""

    def __init__(self, task: LoopTask, ranks: int = 1) -> None:
        """Start it and wait until it is ready.

        Raises:
            FailedError: It ended.
        """
        self.cpu_ms: list[float] = []  # CPU time of rank 0 for an image, of each turn
        self._worker = Contestant("loop_worker", task.encode(), environment(task.threads) | ALLOCATOR, ranks)
        self.close = self._worker.close

    def turn(self) -> float:
        """Let it take its steps; images/s of all ranks.

        Raises:
            FailedError: It ended.
        """
        said = self._worker.ask("turn")
        self.peak = int(said["peak"])
        self.cpu_ms.append(float(said["cpu_ms"]))
        return float(said["images_per_s"])
