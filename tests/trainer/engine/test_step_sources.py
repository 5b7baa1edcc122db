"""Ten steps of recipes beside their sources' own loss, mixing, optimizer and schedule: same batches, same weights.

timm's functions are those that are installed. Those of a few lines that belong to no package are written down here:
facebookresearch/deit (engine.py), microsoft/Swin-Transformer (optimizer.py), facebookresearch/ConvNeXt (utils.py,
optim_factory.py), google-research/big_vision (optax.py, utils.py). A batch has two images, as timm mixes an image with
its mirror in the batch, where the recipes take the next one: of two images both are the same.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from timm.loss.binary_cross_entropy import BinaryCrossEntropy
from timm.loss.cross_entropy import SoftTargetCrossEntropy
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn
from torch.nn import BCEWithLogitsLoss
from torch.optim import AdamW, Optimizer

from data.types import Batch
from models.config import ModelConfig
from trainer import gpu
from trainer.engine import build
from trainer.engine.step import Normalize, TrainStep, draw_seed
from trainer.optim.mixing import BetaQuantiles
from trainer.recipe import recipes
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.schedule import learning_rate
from trainer.runtime import Runtime
from trainer.world import World

CLASSES, SIDE, PER_EPOCH = 6, 32, 4
SITE = SiteConfig(data=Path("data"), output=Path("out"), channels_last=False)
VIT = ModelConfig(name="timm/test_vit", num_classes=CLASSES, img_size=SIDE)
CONVNEXT = ModelConfig(name="timm/test_convnext", num_classes=CLASSES)  # for ResNets too: BatchNorm of two is chaotic
SWIN = ("embed_dim=16", "depths=(1,1)", "num_heads=(1,2)", "window_size=4")
NETWORKS = {
    "deit_s": VIT,
    "swin_t": ModelConfig(name="timm/swin_tiny_patch4_window7_224", num_classes=CLASSES, img_size=SIDE, options=SWIN),
    "convnext_t": CONVNEXT,
    "vit_s16_90": VIT,
    "deit3_s": replace(VIT, options=("no_embed_class=True",)),
    **dict.fromkeys(("resnet50_a1", "resnet50_a2", "resnet50_a3"), CONVNEXT),
}
# of a run of as many epochs as the recipe has, four steps each: in the warm-up, at its end, later, and the last
STEPS = (0, 1, 5, 19, 20, 79, 80, 150, 300, -1)
Update = Callable[[nn.Module, int], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a source does beside the forward and backward pass."""

    optimizer: Callable[[nn.Module], Optimizer]
    rate: Callable[[Optimizer, int, int], float] | None
    """Sets the learning rate of a step, given how many the run has; returns it. None: the recipe's."""
    loss: Callable[[Tensor, Tensor], Tensor]
    mixup: float
    cutmix: float = 1.0
    smoothing: float = 0.1
    clip: float | None = None


def timm_cosine(warmup: int, low: float, final: float, unit: int, *, prefix: bool = False) -> Any:
    """timm's scheduler; `unit`: steps of what it counts, 1 or those of an epoch."""

    def rate(optimizer: Optimizer, step: int, steps: int) -> float:
        total, up = steps // unit, warmup * PER_EPOCH // unit
        scheduler = CosineLRScheduler(
            optimizer, total - up * prefix, final, warmup_t=up, warmup_lr_init=low, warmup_prefix=prefix
        )
        scheduler.step(step // unit)
        return optimizer.param_groups[0]["lr"]

    return rate


def every(optimizer: Optimizer, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def convnext_cosine(optimizer: Optimizer, step: int, steps: int) -> float:
    """utils.py, cosine_scheduler(4e-3, 1e-6, epochs, niter_per_ep, warmup_epochs=20)."""
    warmup = 20 * PER_EPOCH
    rest = [1e-6 + 0.5 * (4e-3 - 1e-6) * (1 + math.cos(math.pi * i / (steps - warmup))) for i in range(steps - warmup)]
    return every(optimizer, float(np.concatenate((np.linspace(0, 4e-3, warmup), rest))[step]))


def big_vision_cosine(optimizer: Optimizer, step: int, steps: int) -> float:
    """utils.py, create_learning_rate_schedule, with a warm-up of 80 steps here."""
    progress = min(max((step - 80) / (steps - 80), 0.0), 1.0)
    return every(optimizer, 1e-3 * 0.5 * (1 + math.cos(math.pi * progress)) * min(1.0, step / 80))


def by_dimensions(network: nn.Module, *words: str) -> list[dict[str, Any]]:
    """Swin, set_weight_decay; ConvNeXt, get_parameter_groups: what is 1-d or has these words is not decayed."""
    named = [*network.named_parameters()]
    kept = [
        name for name, weight in named if weight.ndim == 1 or name.endswith(".bias") or any(w in name for w in words)
    ]
    return [
        {"params": [weight for name, weight in named if name not in kept], "weight_decay": 0.05},
        {"params": [weight for name, weight in named if name in kept], "weight_decay": 0.0},
    ]


class ScaleByAdam(Optimizer):
    """optax.py: clip by the global norm, scale_by_adam, scale by lr, add decay of kernels, scale by the schedule."""

    def __init__(self, network: nn.Module) -> None:
        kernels = [weight for name, weight in network.named_parameters() if weight.ndim > 1 and name != "pos_embed"]
        others = [weight for weight in network.parameters() if not any(weight is kernel for kernel in kernels)]
        groups = [{"params": kernels, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]  # 1e-4 / 1e-3
        super().__init__(groups, {"lr": 1e-3})

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                t, mean, square = state.get("all", (0, torch.zeros_like(weight), torch.zeros_like(weight)))
                gradient = weight.grad if norm < 1 else weight.grad / norm
                mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
                state["all"] = t + 1, mean, square
                update = 1e-3 * (mean / (1 - 0.9 ** (t + 1))) / ((square / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
                update += 1e-3 * group["weight_decay"] * weight
                weight -= group["lr"] / 1e-3 * update


def strikes_back(decay: float, lr: float, mixup: float, smoothing: float = 0.0) -> Source:
    """timm's train.py; the rates of these three are mmpretrain's, which `test_schedule.py` holds."""
    return Source(
        optimizer=lambda network: create_optimizer_v2(network, "lamb", lr=lr, weight_decay=decay),
        rate=None,
        loss=BinaryCrossEntropy(target_threshold=0.2),
        mixup=mixup,
        smoothing=smoothing,
    )


SOURCES = {
    "deit_s": Source(
        optimizer=lambda network: create_optimizer_v2(network, "adamw", lr=1e-3, weight_decay=0.05),
        rate=timm_cosine(5, 1e-6, 1e-5, PER_EPOCH),
        loss=SoftTargetCrossEntropy(),
        mixup=0.8,
    ),
    "swin_t": Source(
        optimizer=lambda network: AdamW(by_dimensions(network, "relative_position_bias_table"), lr=1e-3),
        rate=timm_cosine(20, 1e-6, 1e-5, 1, prefix=True),
        loss=SoftTargetCrossEntropy(),
        mixup=0.8,
        clip=5.0,
    ),
    "convnext_t": Source(
        optimizer=lambda network: AdamW(by_dimensions(network), lr=4e-3),
        rate=convnext_cosine,
        loss=SoftTargetCrossEntropy(),
        mixup=0.8,
    ),
    "vit_s16_90": Source(
        optimizer=ScaleByAdam,
        rate=big_vision_cosine,
        loss=lambda logits, targets: -(targets * logits.log_softmax(1)).sum(1).mean(),  # softmax_xent
        mixup=0.2,
        cutmix=0.0,
        smoothing=0.0,
    ),
    "deit3_s": Source(  # main.py: --opt fusedlamb, whose max_grad_norm is 1; engine.py: targets.gt(0.0)
        optimizer=lambda network: create_optimizer_v2(network, "lamb", lr=4e-3, weight_decay=0.05, eps=1e-8),
        rate=timm_cosine(5, 1e-6, 1e-5, PER_EPOCH),
        loss=lambda logits, targets: BCEWithLogitsLoss()(logits, targets.gt(0.0).float()),
        mixup=0.8,
        smoothing=0.0,
    ),
    "resnet50_a1": strikes_back(0.01, 5e-3, 0.2, 0.1),
    "resnet50_a2": strikes_back(0.02, 5e-3, 0.1),
    "resnet50_a3": strikes_back(0.02, 8e-3, 0.1),
}


def small(name: str) -> Recipe:
    """The recipe with a network of some thousand weights; 80 steps of warm-up for 10,000."""
    recipe = recipes.load(name)
    given = NETWORKS[name]
    options = (*(given.options or ()), *(one for one in recipe.model.options or () if "ls_init" not in one)) or None
    model = replace(given, drop_path=recipe.model.drop_path, options=options)
    schedule = replace(recipe.schedule, warmup_steps=min(recipe.schedule.warmup_steps, 80))
    return replace(recipe, model=model, schedule=schedule, precision="fp32", micro_batch=recipe.global_batch)


def batch(step: int, recipe: Recipe) -> Batch:
    """Two images; the coefficients of cutmix cut whole pixels on both sides of a centre: 16, 24 or 12 of 32."""
    generator = torch.Generator().manual_seed(step)
    coefficient = (0.75, 0.4375, 0.859375)[step % 3] if recipe.mixing.cutmix else 0.3 + 0.05 * (step % 9)
    return Batch(
        images=torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator),
        targets=torch.randint(0, CLASSES, (2,), generator=generator),
        indices=torch.arange(2),
        valid=torch.ones(2, dtype=torch.bool),
        mixing=torch.tensor([0.3 if step % 2 else 0.7, coefficient, 0.4, 0.6], dtype=torch.float64),
    )


@contextmanager
def drawing(draws: Tensor) -> Iterator[None]:
    """numpy draws for timm what the plan has drawn: whether, which, the share, and the rectangle's centre (y, x)."""
    which, coefficient, x, y = draws.tolist()
    centres = iter((int(y * SIDE), int(x * SIDE)))
    with (
        patch.object(np.random, "rand", lambda: which),
        patch.object(np.random, "beta", lambda a, _: BetaQuantiles(a)(coefficient)),
        patch.object(np.random, "randint", lambda *_, **__: next(centres)),
    ):
        yield


@pytest.mark.parametrize("name", SOURCES)
def test_ten_steps_are_the_source_s(name: str) -> None:
    recipe, source = small(name), SOURCES[name]
    runtime = Runtime(World(), "fp32", threads=1)
    state = build.train_state(recipe, SITE, runtime)
    with torch.no_grad():
        for weight in state.model.parameters():  # a classifier of zeros has no gradient behind it
            if not weight.any():
                weight.normal_(std=0.02)
    theirs = copy.deepcopy(state.model)
    optimizer = source.optimizer(theirs)
    mixup = Mixup(source.mixup, source.cutmix, label_smoothing=source.smoothing, num_classes=CLASSES)
    normalize = Normalize(recipe.input, runtime.device, channels_last=False)
    step_of = TrainStep(runtime, state.model, state, normalize, recipe)
    assert groups(state.model, state.optimizer) == groups(theirs, optimizer)

    total, found, expected = recipe.epochs * PER_EPOCH, list[float](), list[float]()
    for step in (number % total for number in STEPS):
        lr, given = learning_rate(recipe, step, PER_EPOCH), batch(step, recipe)
        rate = source.rate(optimizer, step, total) if source.rate else every(optimizer, lr)
        assert rate == pytest.approx(lr, rel=1e-9, abs=1e-15)
        sums = step_of([given], step, lr, images=2)
        found.append(float(sums[0]) / 2)

        gpu.seed(runtime.device, draw_seed(recipe.seed, step, 0))
        with drawing(given.mixing):
            images, targets = mixup(normalize(given.images), given.targets)
        loss = source.loss(theirs(images), targets)
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if source.clip:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), source.clip)
        optimizer.step()
    assert found == pytest.approx(expected, rel=1e-6)


def groups(network: nn.Module, optimizer: Optimizer) -> list[tuple[list[str], float]]:
    """Names and decay of each group, sorted."""
    names = {id(weight): name for name, weight in network.named_parameters()}
    return sorted(
        (sorted(names[id(weight)] for weight in group["params"]), group["weight_decay"])
        for group in optimizer.param_groups
    )
