"""The process that works longest in each step, for which the others wait."""

from collections.abc import Sequence

from trainer.telemetry.phases import Lap, Phase
from trainer.telemetry.point import Slowest

SLOW = 1.3  # times as long as the median process

_OWN: tuple[Phase, ...] = ("data_wait", "forward", "backward", "optimizer")


def own_s(lap: Lap, step_s: float) -> float:
    """How long a process itself works in a step; all take `step_s` seconds, as they wait for the slowest.

    On a CPU by the host's clock, on a GPU by the GPU's: waiting for images, forward and backward pass, optimizer.
    Not the exchange of gradients, where it waits (with `sync_bn` also in the forward pass, which hides a straggler),
    and not what rank 0 alone does, logging and checkpoints.
    """
    return step_s * sum(lap.shares.get(phase, 0.0) for phase in _OWN)


class Stragglers:
    """Compares the processes at log points."""

    def __init__(self) -> None:
        self._rank, self._points = -1, 0

    def compare(self, each_s: Sequence[float]) -> Slowest | None:
        """The slowest process by `own_s` of all; None where nothing is measured, or there is only one."""
        median = sorted(each_s)[(len(each_s) - 1) // 2]  # of two the faster
        if len(each_s) == 1 or median <= 0:
            return None
        before, self._rank = self._rank, each_s.index(max(each_s))
        ratio = each_s[self._rank] / median
        self._points = self._points * (before == self._rank) + 1 if ratio >= SLOW else 0
        return Slowest(slowest_rank=self._rank, slowest_ratio=ratio, slow_points=self._points)
