"""Everything that decides the next step."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(slots=True)
class TrainState:
    """A run between two steps.

    The position in the data follows from `step`, and every crop and flip from that, so no loader or generator is in it.
    """

    model: nn.Module
    """The network itself, not its DDP wrapper."""
    optimizer: Optimizer
    sums: Tensor
    """(metrics.FIELDS,) this rank's training sums since the last logged point."""
    step: int = 0
    """Optimizer steps done."""
    evaluated: int = 0
    """Epochs whose evaluation is done and logged."""
    broken: int = 0
    """Training images that could not be read or decoded and were replaced, up to the last logged point."""
    best_top1: float = 0.0
    """Highest evaluated top-1 so far, percent."""
    scores: dict[str, float] = field(default_factory=dict[str, float])
    """The newest evaluation: top1 and top5 in percent, loss, images; empty before the first."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain data only, so that `weights_only` loading reads it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.sums,
            "step": self.step,
            "evaluated": self.evaluated,
            "broken": self.broken,
            "best_top1": self.best_top1,
            "scores": self.scores,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            RuntimeError: The weights belong to another network.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sums.copy_(state["sums"])
        self.step, self.evaluated, self.broken = state["step"], state["evaluated"], state["broken"]
        self.best_top1, self.scores = state["best_top1"], state["scores"]
