"""`provenet train` as a program to be timed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from data.plan.config import InputConfig
from models.config import ModelConfig
from tests.benchmarks.config import LR, Precision
from tests.benchmarks.image_tree import Images
from tests.benchmarks.programs import Program
from trainer.optim.config import SgdConfig
from trainer.recipe.config import Recipe
from trainer.recipe.recipes import dump
from trainer.rundir import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What every program is to train."""

    network: str
    images: Images
    image_size: int
    """Pixels."""
    batch: int
    """Images in a step."""
    threads: int
    """Of the model, and of the loader."""
    folder: Path
    """For whatever they write."""


def train(work: Work, precision: Precision, *, channels_last: bool) -> Program:
    """A run from its start, which writes down each step; in a new run directory, and with its recipe there."""
    recipe = Recipe(
        model=ModelConfig(name=work.network, num_classes=work.images.classes),
        input=InputConfig(train_size=work.image_size, eval_resize=work.image_size * 8 // 7, eval_crop=work.image_size),
        optimizer=SgdConfig(lr=LR),
        global_batch=work.batch,
        micro_batch=work.batch,
        precision=precision,
    )
    place = work.folder / uuid4().hex
    file = place.with_suffix(".yaml")
    file.write_text(dump(recipe))
    flags = {
        "--data": work.images.root,
        "--manifests": work.images.manifests,
        "--output": place,
        "--log-every": 1,
        "--threads": work.threads,
    }
    words = [
        *(str(word) for flag in flags.items() for word in flag),
        *([] if channels_last else ["--no-channels-last"]),
    ]
    return Program(
        name="provenet train",
        command=(sys.executable, "-P", "-m", "trainer", "train", str(file), *words),
        threads=work.threads,
        done='"kind": "train"',
        record=RunDirectory(place).metrics,
    )
