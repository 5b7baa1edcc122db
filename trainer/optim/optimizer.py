"""Optimizers, and which weights they decay."""

import inspect
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from models.config import arguments, check_arguments
from trainer.optim.config import (
    AdamWConfig,
    AnyOptimizer,
    LambConfig,
    LarsConfig,
    OptimizerConfig,
    RmspropTfConfig,
    SgdConfig,
    TimmConfig,
)

_Kind = TypeVar("_Kind", bound=Optimizer)


def build_optimizer(model: nn.Module, config: AnyOptimizer) -> Optimizer:
    """An optimizer over all weights of `model`, which must be on their final device.

    Set `lr` in each of its groups before each step; it starts as `config.lr`.
    """
    groups = parameter_groups(model, config)
    # fused: one pass over all weights; runs on CPU and CUDA
    match config:
        case SgdConfig():
            sgd = _eager(SGD)(groups, config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)
            return _with_momentum(sgd) if config.momentum else sgd
        case AdamWConfig():
            return _eager(AdamW)(groups, config.lr, betas=config.betas, eps=config.eps, fused=True)
        case TimmConfig():
            return _named(groups, config)
        case _:
            return _from_timm(groups, config)


def _eager(kind: type[_Kind]) -> type[_Kind]:
    """The same optimizer without what PyTorch wraps around it for torch.compile, which is for the network alone.

    The wrappers load the compiler when the first of them is called: 1.3 s of each start.
    """
    methods = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    members = {name: inspect.unwrap(getattr(kind, name)) for name in methods}
    eager: Any = type(kind.__name__, (kind,), {**members, "step": torch.no_grad()(inspect.unwrap(kind.step))})
    return eager


def problems(model: nn.Module, config: AnyOptimizer) -> list[str]:
    """Why an optimizer that is given by its name in timm cannot be built; `model` may be on the meta device."""
    if not isinstance(config, TimmConfig):
        return []
    try:
        build_optimizer(model, config)
    except (ValueError, TypeError, AssertionError, ImportError) as error:
        return [f"optimizer.method: timm cannot build {config.method} so: {str(error).splitlines()[0]}"]
    return []


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """One group of weights with decay and one without, if not empty; with a decay of the rate, both of each layer.

    Normalisation weights and biases are those with fewer than two dimensions. A group's `lr_scale`, if it has one, is
    the factor of its learning rate.

    Reference:
        timm/optim/_param_groups.py, which makes the groups where the network has a say in them.
    """
    if config.layer_decay or config.no_decay:
        return _as_timm(model, config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    small = [] if config.decay_norm_and_bias else [weight for weight in weights if weight.ndim < 2]
    others = [weight for weight in weights if config.decay_norm_and_bias or weight.ndim >= 2]
    groups = [(others, config.weight_decay), (small, 0.0)]
    return [{"params": members, "weight_decay": decay} for members, decay in groups if members]


def _as_timm(model: Any, config: OptimizerConfig) -> list[dict[str, Any]]:
    from timm.optim._param_groups import (  # takes seconds to import
        param_groups_layer_decay,
        param_groups_weight_decay,
    )

    named = model.no_weight_decay() if config.no_decay and hasattr(model, "no_weight_decay") else ()
    common = {"no_weight_decay_list": named, "weight_decay_exclude_1d": not config.decay_norm_and_bias}
    if config.layer_decay is None:
        return param_groups_weight_decay(model, config.weight_decay, **common)
    return param_groups_layer_decay(model, config.weight_decay, layer_decay=config.layer_decay, **common)


def _with_momentum(optimizer: SGD) -> SGD:
    """Start with a momentum of 0, which changes no update.

    By itself PyTorch's fused SGD allocates the buffers at its first step, and if that step is skipped, as one that
    overflows in fp16, leaves them uninitialised for the next step.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def _from_timm(groups: list[dict[str, Any]], config: LarsConfig | LambConfig | RmspropTfConfig) -> Optimizer:
    """Optimizers that torch lacks. LARS and LAMB do not adapt the rate of a group without decay."""
    from timm.optim.lamb import Lamb  # takes seconds to import
    from timm.optim.lars import Lars
    from timm.optim.rmsprop_tf import RMSpropTF

    match config:
        case LarsConfig():
            momentum: Any = config.momentum  # an int to timm's type hints
            return _eager(Lars)(
                groups, config.lr, momentum, nesterov=config.nesterov, trust_coeff=config.trust_coefficient
            )
        case LambConfig():  # without its own clipping, which no recipe shows
            return _eager(Lamb)(groups, config.lr, betas=config.betas, eps=config.eps, max_grad_norm=None)
        case RmspropTfConfig():
            return _eager(RMSpropTF)(groups, config.lr, config.alpha, config.eps, momentum=config.momentum)


def _named(groups: list[dict[str, Any]], config: TimmConfig) -> Optimizer:
    from timm.optim._optim_factory import create_optimizer_v2, get_optimizer_class, get_optimizer_info

    if get_optimizer_info(config.method).second_order:
        raise ValueError("needs second derivatives, which are not computed here")
    options, kind = arguments(config.options or ()), get_optimizer_class(config.method, bind_defaults=False)
    check_arguments(options, kind, ("params", "lr", "weight_decay"))
    return create_optimizer_v2(groups, config.method, lr=config.lr, **options)
