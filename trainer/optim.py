"""Optimizers and what they decay."""

from torch import nn
from torch.optim import SGD, Optimizer

from trainer.config import SgdConfig


def build_optimizer(model: nn.Module, config: SgdConfig) -> Optimizer:
    """An optimizer over all weights of `model`, which must lie on their final device."""
    return SGD(
        parameter_groups(model, config),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,  # one pass over all weights; runs on CPU and CUDA
    )


def parameter_groups(model: nn.Module, config: SgdConfig) -> list[dict[str, object]]:
    """Weights that are decayed, and those that are not.

    Normalisation weights and biases are the ones with fewer than two dimensions.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    small = [] if config.decay_norm_and_bias else [weight for weight in weights if weight.ndim < 2]
    others = [weight for weight in weights if config.decay_norm_and_bias or weight.ndim >= 2]
    groups = [(others, config.weight_decay), (small, 0.0)]
    return [{"params": members, "weight_decay": decay} for members, decay in groups if members]
