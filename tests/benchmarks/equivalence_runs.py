"""One recipe, trained to its end by `provenet train` and by a plain PyTorch script. Loads no torch."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from data.plan.config import InputConfig
from models.config import ModelConfig
from tests.benchmarks.config import Crop
from tests.benchmarks.contestant import FailedError, end, environment, last_words
from tests.benchmarks.image_tree import CLASSES, Images
from trainer.optim.config import CosineScheduleConfig, LossConfig, SgdConfig, StepScheduleConfig
from trainer.recipe.config import Recipe
from trainer.recipe.recipes import dump
from trainer.rundir import RunDirectory

IMAGE_SIZES = {"resnet20": 32, "resnet18": 64}
EPOCHS = {"resnet20": 12, "resnet18": 6}
BATCH = 32
LEAST_AREA = 0.6
LOG_EVERY = 8  # steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What both sides train."""

    network: str
    """A key of IMAGE_SIZES: what the script knows."""
    image_size: int
    """Pixels."""
    crop: Crop
    epochs: int
    batch: int
    """Images in a step."""
    images: Images
    threads: int
    """Of the model, and of the loader."""
    script: Path
    """The plain one."""
    folder: Path
    """For whatever they write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run said of itself."""

    losses: dict[int, float]
    """By optimizer steps done: mean over the steps since the one before."""
    top1: list[float]
    """After each epoch, percent."""

    def epoch_losses(self) -> list[float]:
        """Mean over the steps of each epoch."""
        per_epoch = max(self.losses) // len(self.top1)
        sums, before = [0.0] * len(self.top1), 0
        for step, loss in self.losses.items():  # none spans the end of an epoch: both log there
            sums[before // per_epoch] += loss * (step - before)
            before = step
        return [total / per_epoch for total in sums]


def recipe(study: Study) -> Recipe:
    """What both follow: for CIFAR's network steps of the learning rate, for the other a cosine and label smoothing."""
    warmup = 1 if study.epochs > 1 else 0
    steps = StepScheduleConfig(milestones=(study.epochs * 0.7, study.epochs * 0.9), warmup_epochs=warmup)
    small = study.network == "resnet20"
    exact = study.crop == "padded"  # images that have the network's size are evaluated whole
    return Recipe(
        model=ModelConfig(name=study.network, num_classes=study.images.classes),
        input=InputConfig(
            train_size=study.image_size,
            crop=study.crop,
            crop_area=(LEAST_AREA, 1.0),
            eval_resize=study.image_size if exact else study.image_size * 9 // 8,
            eval_crop=study.image_size,
        ),
        optimizer=SgdConfig(lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=steps if small else CosineScheduleConfig(warmup_epochs=warmup),
        loss=LossConfig(label_smoothing=0.0 if small else 0.1),
        epochs=study.epochs,
        global_batch=study.batch,
        micro_batch=study.batch,
        precision="fp32",
    )


def ours(study: Study, seed: int) -> Run:
    """Train as users do.

    Raises:
        FailedError: It failed.
    """
    place = study.folder / f"{study.network}-{seed}"
    file = place.with_suffix(".yaml")
    file.write_text(dump(replace(recipe(study), seed=seed)))
    flags = {
        "--data": study.images.root,
        "--manifests": study.images.manifests,
        "--output": place,
        "--log-every": LOG_EVERY,
        "--threads": study.threads,
    }
    _finish("provenet train", ["-P", "-m", "trainer", "train", file], flags, environment(study.threads))
    return read(RunDirectory(place).metrics)


def theirs(study: Study, seed: int) -> Run:
    """Train the script by the same recipe.

    Raises:
        FailedError: It failed.
    """
    plan, output = recipe(study), study.folder / f"{study.network}-{seed}.jsonl"
    optimizer, schedule = plan.optimizer, plan.schedule
    assert isinstance(optimizer, SgdConfig)  # so `recipe` makes it
    flags = {
        "--data": study.images.root,
        "--output": output,
        "--network": study.network,
        "--size": study.image_size,
        "--resize": plan.input.eval_resize,
        "--crop": study.crop,
        "--least-area": LEAST_AREA,
        "--epochs": study.epochs,
        "--batch": study.batch,
        "--lr": optimizer.lr,
        "--momentum": optimizer.momentum,
        "--weight-decay": optimizer.weight_decay,
        "--warmup": schedule.warmup_epochs,
        "--label-smoothing": plan.loss.label_smoothing,
        "--seed": seed,
        "--threads": study.threads,
        "--log-every": LOG_EVERY,
    }
    milestones = ["--milestones", *schedule.milestones] if isinstance(schedule, StepScheduleConfig) else []
    # this package is not for it to find
    alone = environment(study.threads) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    _finish(study.script.name, [study.script, *milestones], flags, alone)
    return read(output)


def read(file: Path) -> Run:
    """What a run wrote, one JSON object a line."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return Run(
        losses={record["step"]: record["loss"] for record in records if record["kind"] == "train"},
        top1=[record["top1"] for record in records if record["kind"] == "eval"],
    )


def both(study: Study, seed: int) -> tuple[Run, Run]:
    """Ours and theirs with a seed: ours first for even ones, theirs for odd ones, as the machine may slow down.

    Raises:
        FailedError: A run failed.
    """
    if seed % 2 == 0:
        return ours(study, seed), theirs(study, seed)
    second, first = theirs(study, seed), ours(study, seed)
    return first, second


def draw(root: Path, count: int, threads: int) -> None:
    """Images to train on, small ones, and half as many to evaluate.

    Raises:
        FailedError: They cannot be drawn.
    """
    each = {"--train-per-class": -(-count // CLASSES), "--val-per-class": -(-count // (2 * CLASSES))}
    flags = {"--scale": "small", "--classes": CLASSES, **each}
    _finish("provenet synth", ["-P", "-m", "launch", "synth", root], flags, environment(threads))


def _finish(name: str, words: list[object], flags: dict[str, object], variables: dict[str, str]) -> None:
    """Run a program to its end, on the CPU."""
    given = [str(word) for pair in flags.items() for word in pair]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, words), *given],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=variables | {"CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            end(process, patience_s=0)
        if code:
            output.seek(0)
            raise FailedError(f"{name}: {last_words(output.read(), code)}")
