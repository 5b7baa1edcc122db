"""Runs to be compared: what both sides train, ours, and what a run says of itself. Loads no torch."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.config import Crop
from tests.benchmarks.contestant import FailedError, end, environment, last_words
from tests.benchmarks.image_tree import CLASSES, Images
from trainer.recipe.config import Recipe
from trainer.recipe.recipes import dump
from trainer.rundir import RunDirectory

BATCH = 32
LOG_EVERY = 8  # steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What both sides train."""

    network: str
    """One that the script knows."""
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
    """Theirs."""
    folder: Path
    """For whatever they write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run said of itself."""

    losses: dict[int, float]
    """By optimizer steps done: mean over the steps since the one before."""
    top1: list[float]
    """After each epoch, percent."""
    evaluation_losses: list[float]
    """After each epoch."""
    seconds: float
    """Of the whole program."""

    def epoch_losses(self) -> list[float]:
        """Mean over the steps of each epoch."""
        per_epoch = max(self.losses) // len(self.top1)
        sums, before = [0.0] * len(self.top1), 0
        for step, loss in self.losses.items():  # none spans the end of an epoch: both log there
            sums[before // per_epoch] += loss * (step - before)
            before = step
        return [total / per_epoch for total in sums]


def ours(study: Study, plan: Recipe, seed: int) -> Run:
    """Train a recipe as users do.

    Raises:
        FailedError: It failed.
    """
    place = study.folder / f"{study.network.rpartition('/')[2]}-{seed}"
    file = place.with_suffix(".yaml")
    file.write_text(dump(replace(plan, seed=seed)))
    flags = {
        "--data": study.images.root,
        "--manifests": study.images.manifests,
        "--output": place,
        "--log-every": LOG_EVERY,
        "--threads": study.threads,
    }
    words = ["-P", "-m", "trainer", "train", file]
    seconds = finish("provenet train", words, flags, environment(study.threads))
    return read(RunDirectory(place).metrics, seconds)


def read(file: Path, seconds: float) -> Run:
    """What a run wrote, one JSON object a line."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    evaluations = [record for record in records if record["kind"] == "eval"]
    return Run(
        losses={record["step"]: record["loss"] for record in records if record["kind"] == "train"},
        top1=[record["top1"] for record in evaluations],
        evaluation_losses=[record["loss"] for record in evaluations],
        seconds=seconds,
    )


def draw(root: Path, count: int, threads: int) -> None:
    """Images to train on, small ones, and half as many to evaluate.

    Raises:
        FailedError: They cannot be drawn.
    """
    each = {"--train-per-class": -(-count // CLASSES), "--val-per-class": -(-count // (2 * CLASSES))}
    flags = {"--scale": "small", "--classes": CLASSES, **each}
    finish("provenet synth", ["-P", "-m", "launch", "synth", root], flags, environment(threads))


def alone(threads: int) -> dict[str, str]:
    """Variables of a program that is not to find this package."""
    return environment(threads) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def finish(name: str, words: list[object], flags: dict[str, object], variables: dict[str, str]) -> float:
    """Run a program to its end, on the CPU; gives its seconds.

    Raises:
        FailedError: It failed.
    """
    start = time.monotonic()
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
    return time.monotonic() - start
