"""The training loss."""

from torch import Tensor
from torch.nn import functional as F

from models.inception import AUX_LOSS_WEIGHT
from trainer.optim.config import LOSSES, LossConfig

Outputs = Tensor | tuple[Tensor, ...]


def logits_of(outputs: Outputs) -> Tensor:
    """(N, C) logits of the main head of a network, whether or not it trains with an auxiliary one."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def losses(outputs: Outputs, targets: Tensor, config: LossConfig) -> Tensor:
    """(N,) float32 loss of each image, the auxiliary head's added where there is one.

    Args:
        outputs: (N, C) logits of any floating type, or a tuple of them: main head first, then the auxiliary one.
        targets: (N,) int64, or (N, C) float32 shares of the classes.
        config: Which loss.

    Reference:
        1512.00567, section 4 (auxiliary head).
    """
    if isinstance(outputs, Tensor):
        # float32: 8 or 11 bits are enough for a logit, but not for a sum over classes
        logits = outputs.float()
        if users := LOSSES.get(config.name):
            return users(logits, _shares(logits, targets, config))
        return (_binary if config.name == "bce" else _cross_entropy)(logits, targets, config)
    main, auxiliary = outputs
    return losses(main, targets, config) + AUX_LOSS_WEIGHT * losses(auxiliary, targets, config)


def _cross_entropy(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    return F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing, reduction="none")


def _binary(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Mean over the classes; smoothing comes before the threshold, as in timm (2110.00476, section 2)."""
    shares = _shares(logits, targets, config)
    if config.bce_threshold is not None:
        shares = (shares > config.bce_threshold).float()
    return F.binary_cross_entropy_with_logits(logits, shares, reduction="none").mean(1)


def _shares(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """(N, C) float32 shares of the classes, smoothed."""
    classes = logits.shape[1]
    shares = F.one_hot(targets, classes).float() if targets.ndim == 1 else targets
    return shares * (1 - config.label_smoothing) + config.label_smoothing / classes
