"""The training loss of every paper recipe on fixed images: what golden_losses.json holds, and how it is made anew.

python -m tests.trainer.golden    # writes golden_losses.json; say in the commit why the numerics changed
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

import torch

from data.catalog import dataset
from data.catalog.manifest import Manifest
from data.load import backends
from data.plan.plan import TrainPlan
from data.synth import synth
from data.synth.config import Synth
from data.types import Shard
from data.verify import verify
from trainer.engine import build
from trainer.engine.step import Normalize, TrainStep
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.recipes import load, names
from trainer.recipe.schedule import learning_rate
from trainer.runtime import Runtime
from trainer.world import World

FILE = Path(__file__).with_name("golden_losses.json")
# engineering, not a paper's; and those that tests/trainer/engine/test_step_sources.py holds to their sources
OTHERS = (
    *("demo", "finetune", "linear_probe", "resnet50_v2*", "resnet50_nvidia*", "resnet50_fast*"),
    *("resnet50_a*", "convnext_t", "deit_s", "deit3_s", "swin_t", "vit_s16_90"),
)

# Steps of a few images are rough: at its own rate a recipe multiplies rounding errors until after 10 steps nothing else
# is left. At this share of it they stay small; the decay is raised by as much and ten times more, so that it shows.
LR, DECAY = 1e-5, 1e6
# In float64, where the loss and its gradient are rounded to float32 alone. At 1e-3 of its rate a deep network
# multiplies that, too: CPUs differed by 2e-2 after three steps.
LR_DOUBLE, DECAY_DOUBLE = 1e-7, 1e9


@dataclass(frozen=True, slots=True)
class Small:
    """How far a recipe is cut down."""

    size: int = 64
    """Pixels."""
    micro_batch: int = 4
    accumulation: int = 1
    steps: tuple[int, ...] = (1, 10, 50)
    """After so many, the loss of the next is noted."""

    @property
    def images(self) -> int:
        """As many as leave one step to an epoch, of other images in each: milestones come within 50 steps."""
        return 2 * self.micro_batch * self.accumulation - 1


FEW = (1, 10)  # of what is slow: what else a recipe sets, another has for 50 steps
SHORT = (1, 3)  # in float64
SPECIAL = {
    "plain18": Small(steps=FEW),
    "ghostnet_100": Small(micro_batch=16, steps=SHORT),
    "inception_v3": Small(size=299, micro_batch=2, steps=SHORT),  # the least that its auxiliary head takes
    **dict.fromkeys(["cifar_resnet110", "cifar_resnext29_8x64d"], Small(size=16, steps=SHORT)),
    **dict.fromkeys(["cifar_plain20", "cifar_plain56", "cifar_resnet56"], Small(size=16, accumulation=2, steps=SHORT)),
    **dict.fromkeys(["resnext101_32x4d", "resnext101_64x4d"], Small(size=32, steps=SHORT)),
    **dict.fromkeys(["plain34", "resnet34", "resnet50", "resnet50_v1"], Small(steps=SHORT)),
    **dict.fromkeys(["resnet101", "resnet152", "resnext50_32x4d", "ghost_resnet50"], Small(steps=SHORT)),
}
CIFAR = Small(size=16, accumulation=2)  # the cheapest place to accumulate

# Networks of which float32 gives the same losses on every CPU, to 5e-5 after 50 steps. Deeper ones, and Ghost ones,
# multiply rounding errors within a pass over four images, and oneDNN and MKL add up in another order on each model of
# CPU, also where the instructions are the same: losses of ResNet-50, ResNeXt-50 and Ghost-ResNet-50 on two CPUs with
# AVX-512 differed by 5e-4 after one step and by 3e-2 after ten. These are trained in float64.
SINGLE = ("cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "plain18", "resnet18")


def papers() -> list[str]:
    """Recipes that follow a paper."""
    return [name for name in names() if not any(fnmatch(name, pattern) for pattern in OTHERS)]


def draw(root: Path, classes: int) -> Manifest:
    """Images, one of each class."""
    synth.write(root, Synth(classes=classes, train_per_class=1, val_per_class=1), workers=1)
    found = dataset.find(root).listing("train")
    return verify.scan(found, workers=1).manifest


def shrunk(name: str) -> tuple[Recipe, Small]:
    """A recipe, as it is but for the sizes, the rate, the decay and the arithmetic."""
    recipe = load(name)
    small = SPECIAL.get(name, CIFAR if recipe.input.crop == "padded" else Small())
    optimizer, (lr, decay) = recipe.optimizer, (LR, DECAY) if name in SINGLE else (LR_DOUBLE, DECAY_DOUBLE)
    return replace(
        recipe,
        model=replace(recipe.model, num_classes=small.images),
        input=replace(recipe.input, train_size=small.size, start_size=None, growth_epochs=(0.0, 0.0)),
        optimizer=replace(
            optimizer, lr=optimizer.lr * lr, base_batch=None, weight_decay=optimizer.weight_decay * decay
        ),
        global_batch=small.micro_batch * small.accumulation,
        micro_batch=small.micro_batch,
        precision="fp32",
        compile="off",
    ), small


def losses(name: str, folder: Path) -> dict[int, float]:
    """The loss of a step by the number of steps before it, of the step, plan, loader and schedule that a run has."""
    with default_dtype(torch.float32 if name in SINGLE else torch.float64):
        return _losses(name, folder)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Weights and images are of this type meanwhile."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _losses(name: str, folder: Path) -> dict[int, float]:
    recipe, small = shrunk(name)
    images = draw(folder / "images", small.images)
    runtime = Runtime(World(), recipe.precision, threads=1)
    state = build.train_state(recipe, SiteConfig(data=folder, output=folder), runtime)
    normalize = Normalize(recipe.input, runtime.device, channels_last=True)
    step = TrainStep(runtime, state.model, state, normalize, recipe)
    plan = TrainPlan(
        manifest=images,
        config=recipe.input,
        seed=recipe.seed,
        global_batch=recipe.global_batch,
        micro_batch=recipe.micro_batch,
        shard=Shard(),
    )
    found: dict[int, float] = {}
    with closing(backends.open_loader(plan, "threads", device=runtime.device, threads=1, max_broken=0.0)) as loader:
        batches = (batch for epoch in range(recipe.epochs) for batch in loader.epoch(epoch))
        for done in range(max(small.steps) + 1):
            taken = list(islice(batches, plan.batches_per_step))
            lr = learning_rate(recipe, done, plan.steps_per_epoch)
            sums = step(taken, done, lr, plan.images_in(done))
            if done in small.steps:
                found[done] = sums[0].item() / plan.images_in(done)
    runtime.close()
    return found


def write() -> None:
    """Put the losses of today into the file."""
    found: dict[str, dict[int, float]] = {}
    for name in papers():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = losses(name, Path(folder))
    FILE.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    write()
