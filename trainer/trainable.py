"""What of a recipe does not suit its network, seen once that is built. Loads torch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from data.plan.operations import POLICIES, Op
from models import registry
from models.config import ModelConfig
from models.user_code import located
from trainer.optim import freezing, optimizer
from trainer.optim.config import LOSSES
from trainer.optim.loss import losses
from trainer.recipe.config import Recipe


def problems(network: nn.Module, recipe: Recipe) -> list[str]:
    """Why the network cannot be trained as the recipe says, for the user; it may be on the meta device."""
    layers = _layer_problems(network, recipe)
    return [
        *_users_problems(recipe),
        *_teacher_problems(network, recipe.model.name),
        *_frozen_problems(network, recipe),
        *layers,
        *([] if layers else optimizer.problems(network, recipe.optimizer)),
        *(_checkpointing_problems(network, recipe.model.name) if recipe.gradient_checkpointing else []),
    ]


def _users_problems(recipe: Recipe) -> list[str]:
    """Why a user's loss and policy fail, each tried on two images."""
    loss, policy, found = recipe.loss, recipe.input.augment.policy, list[str]()
    if loss.name in LOSSES:
        logits, targets = (
            torch.zeros(2, recipe.model.num_classes, requires_grad=True),
            torch.zeros(2, dtype=torch.int64),
        )
        found += _tried(f"loss.name: {loss.name}", lambda: losses(logits, targets, loss), logits[:, 0], backward=True)
    for one in {op for pair in POLICIES.get(policy, ()) for op, *_ in pair if not isinstance(op, Op)}:
        images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        found += _tried(f"input.augment.policy: {policy}", partial(one, images.clone(), np.ones(2)), images)
    return found


def _tried(what: str, call: Callable[[], torch.Tensor], like: torch.Tensor, *, backward: bool = False) -> list[str]:
    try:
        found = call()
        if (found.shape, found.dtype) != (like.shape, like.dtype):
            said, wanted = (f"{tuple(each.shape)} {each.dtype}" for each in (found, like))
            raise ValueError(f"for 2 images it returns {said}; expected {wanted}")
        if backward:
            found.sum().backward()
    except Exception as error:  # of any kind, as it is a user's
        return [f"{what} fails: {located(error)}"]
    return []


def _teacher_problems(network: nn.Module, name: str) -> list[str]:
    """The networks of timm whose second head follows a teacher; without one both would be trained as their mean."""
    heads = [module for path, module in network.named_modules() if path.rpartition(".")[2] == "head_dist"]
    if not any(True for head in heads for _ in head.parameters()):
        return []
    plain = name.partition(".")[0].replace("_distilled", "")
    other = plain if plain != name and not registry.option_problems(ModelConfig(name=plain)) else None
    fix = other or "another network, or --model.options distillation=False where it takes that"
    return [f"model.name: {name} has a second head that learns from a teacher, and there is none here; use {fix}"]


def _frozen_problems(network: nn.Module, recipe: Recipe) -> list[str]:
    if recipe.init.freeze is None:
        return []
    if recipe.precise_bn:
        return ["precise_bn: computes the statistics that init.freeze keeps; leave one of them out"]
    return freezing.problems(network, recipe.init.freeze)


def _layer_problems(network: nn.Module, recipe: Recipe) -> list[str]:
    if recipe.optimizer.layer_decay is None or hasattr(network, "group_matcher"):
        return []
    return [f"optimizer.layer_decay: the layers of {recipe.model.name} are not known in their order; use None"]


def _checkpointing_problems(network: Any, name: str) -> list[str]:
    try:
        network.set_grad_checkpointing(True)
        network.set_grad_checkpointing(False)
    except (AttributeError, AssertionError):  # the latter: of those of timm's that have the method only
        return [f"gradient_checkpointing: {name} does not offer it; leave it out"]
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        return [f"gradient_checkpointing: its second forward pass would update BatchNorm's statistics in {name} again"]
    return []
