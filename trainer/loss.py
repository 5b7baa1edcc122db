"""What training minimises."""

from torch import Tensor
from torch.nn import functional as F

from models.inception import AUX_LOSS_WEIGHT

Outputs = Tensor | tuple[Tensor, ...]


def logits_of(outputs: Outputs) -> Tensor:
    """(N, C) logits of the main head of a network, whether or not it trains with an auxiliary one."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def cross_entropy(outputs: Outputs, targets: Tensor, smoothing: float) -> Tensor:
    """(N,) cross-entropy with label smoothing, the auxiliary head's added where there is one.

    Args:
        outputs: (N, C) logits, or a tuple of them: main head first, then the auxiliary one.
        targets: (N,) int64.
        smoothing: Share of the target spread evenly over all classes, 0 to 1.

    Reference:
        1512.00567, sections 4 (auxiliary head) and 7 (label smoothing).
    """
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction="none")
    main, auxiliary = outputs
    return cross_entropy(main, targets, smoothing) + AUX_LOSS_WEIGHT * cross_entropy(auxiliary, targets, smoothing)
