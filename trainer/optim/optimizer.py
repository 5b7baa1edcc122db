"""Optimizers, and which weights they decay."""

import inspect
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from models.config import arguments, check_arguments
from models.user_code import MODULE, located
from trainer.optim.config import (
    OPTIMIZERS,
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
    """Why an optimizer of some name cannot be built, or fails at a step; `model` may be on the meta device."""
    if not isinstance(config, TimmConfig):
        return []
    try:
        module = type(build_optimizer(model, config)).__module__
        if module.startswith(("timm.", "torch.", MODULE)):  # others need a GPU
            _try_steps(config)
    except Exception as error:  # of any kind, as the value of an option may be anything
        if config.method in OPTIMIZERS:
            return [f"optimizer.method: {config.method} fails: {located(error)}"]
        reason = str(error).partition("\n")[0] or type(error).__name__
        return [f"optimizer.method: timm cannot build {config.method} so: {reason}"]
    return []


def _try_steps(config: TimmConfig) -> None:
    """Two, on the CPU, for which `capturable` is not made; those of a user's also as by a run that was resumed."""
    config = replace(config, options=tuple(one for one in config.options or () if "capturable" not in one))
    straight = _stepped(config, resumes=False)
    if config.method in OPTIMIZERS and not all(map(torch.equal, straight, _stepped(config, resumes=True))):
        raise ValueError("what it knows of earlier steps is not in its state_dict()")


def _stepped(config: TimmConfig, *, resumes: bool) -> list[nn.Parameter]:
    """Weights after two steps, as ADOPT's first only begins; 8 x 8 is enough for Muon."""
    weights = [nn.Parameter(torch.ones(8, 8)), nn.Parameter(torch.ones(8))]
    optimizer = _named([{"params": weights}], config)
    for step in range(2):
        if resumes:
            state = optimizer.state_dict()
            optimizer = _named([{"params": weights}], config)
            optimizer.load_state_dict(state)
        for weight in weights:
            weight.grad = torch.full_like(weight, 1.0 - 3 * step)
        with torch.compiler.set_stance("force_eager"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            optimizer.step()
    return weights


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
    options = arguments(config.options or ())
    if users := OPTIMIZERS.get(config.method):
        check_arguments(options, users, ("params", "lr", "weight_decay"))
        if config.weight_decay and "weight_decay" not in inspect.signature(users).parameters:
            raise TypeError("takes no weight_decay, and the recipe's is not 0")
        return users(groups, lr=config.lr, **options)
    from timm.optim._optim_factory import create_optimizer_v2, get_optimizer_class, get_optimizer_info

    if get_optimizer_info(config.method).second_order:
        raise ValueError("needs second derivatives, which are not computed here")
    kind = get_optimizer_class(config.method, bind_defaults=False)
    check_arguments(options, kind, ("params", "lr", "weight_decay"))
    return create_optimizer_v2(groups, config.method, lr=config.lr, **options)
