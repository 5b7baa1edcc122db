"""A small version of a recipe, which a CPU trains in seconds."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from models import registry
from trainer.optim.config import CosineScheduleConfig
from trainer.recipe.config import Recipe

CLASSES = 4
EPOCHS = 4
MICRO_BATCH = 4

_SIZES = (32, 64, 96, 128, 160, 192, 224, 299)  # pixels; the smallest that the network takes is used


def small(recipe: Recipe, world_size: int) -> Recipe:
    """The recipe with four classes, small images and batches, and a few epochs with a cosine schedule.

    Optimizer, loss, mixing, augmentation, EMA, clipping and precision stay, and so does accumulation, if there is any.
    """
    micro_batch = max(MICRO_BATCH, recipe.input.augment.repeats + 1)  # mixing needs another image than the repeats
    passes = min(2, max(1, recipe.global_batch // (recipe.micro_batch * world_size)))
    size = next((size for size in _SIZES if not _problems(recipe, size)), recipe.input.train_size)
    return replace(
        recipe,
        model=replace(recipe.model, num_classes=CLASSES),
        input=replace(
            recipe.input, train_size=size, eval_resize=size, eval_crop=size, start_size=None, growth_epochs=(0, 0)
        ),
        schedule=CosineScheduleConfig(),
        epochs=EPOCHS,
        micro_batch=micro_batch,
        global_batch=micro_batch * world_size * passes,
        precise_bn=min(recipe.precise_bn, 2 * micro_batch),
        compile="off",
    )


def _problems(recipe: Recipe, size: int) -> list[str]:
    model = replace(recipe.model, num_classes=CLASSES)
    return [*registry.problems(model, size), *registry.problems(model, size, "input.eval_crop", training=False)]


def draw(folder: Path) -> None:
    """Draw the images that do not exist yet."""
    counts = ("--classes", str(CLASSES), "--train-per-class", "24", "--val-per-class", "10")
    subprocess.run(
        [sys.executable, "-m", "launch", "synth", str(folder), *counts], check=True, stdout=subprocess.DEVNULL
    )
