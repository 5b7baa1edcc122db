"""The request of an evaluation, the folder for its figures, and what it gives. Loads no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from data.catalog.layout import Layout
from data.plan.config import EvalViews, InputConfig
from data.types import Backend
from models.class_names import REAL
from models.table import TABLE
from trainer.evaluation.protocol import Protocol, resized_side
from trainer.recipe.config import Precision, Recipe
from trainer.sources import Source

FOLDER = "evaluations"


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """How well a network does on a split, each image counted once."""

    top1: float
    """Percent."""
    top5: float
    """Percent; of all classes where there are fewer than five."""
    loss: float
    """Mean cross-entropy, nats."""
    images: int
    facts: Mapping[str, Any]
    """Its protocol and circumstances: the fields of `result.json` or `evaluation.json` in `trainer/FORMATS.md`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A class that an image may show."""

    name: str
    index: int
    """Of its logit."""
    probability: float
    """0 to 1."""


class Prediction(NamedTuple):
    """The answers to an image."""

    image: str
    """Its path; in an archive `ARCHIVE: NAME`."""
    classes: tuple[Answer, ...]
    """The most probable first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request(Layout):
    """The settings of an evaluation, flags of `provenet evaluate`."""

    data: Path | None = None
    """Data set as for `provenet train`, or a folder of class folders, such as ImageNet-V2, -A, -R and -Sketch."""
    protocol: str | None = None
    """center-224/256, center-288/0.95, center-299, resize-224, ten-crop, multi-scale; +bicubic and +flip may follow.
    None: the protocol that belongs to the weights."""
    labels: str | None = None
    """real for ReaL's labels, or a JSON file of labels. None: the names of the class folders."""
    classes: str | None = None
    """Names of the network's classes, for weights that do not say them: imagenet, or a text file with a name a line in
    the order of the logits."""
    output: Path | None = None
    """Folder to write to. None: RUN/evaluations/..., or ./evaluations/... for weights that belong to no run."""
    entry: str | None = None
    """Which weights of a run or file that holds several: raw, ema, or the name of an entry in the file, such as
    state_dict. None: those that fit the network best; of a file with both and of a run, the moving average."""
    recipe: str | None = None
    """Recipe that a file of weights was trained with, for a file outside a run directory."""
    precision: Precision | None = None
    """Arithmetic: fp32, tf32, bf16 or fp16. None: that of a run's recipe, else fp32."""
    batch: int = field(default=64, metadata={"min": 1, "max": 65_536})
    """Images per process and forward pass."""
    loader: Backend | None = None
    """What decodes: threads, dali or dali_gpu. None: what is fastest here."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Largest share of the images that may be broken; they are left out and counted."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads per process. None: its share of the machine's cores."""

    def folder(self, source: Source, images: str, protocol: Protocol) -> Path:
        """The folder for the figures of these weights on a set of images of this name."""
        if self.output:
            return self.output
        labels = "" if self.labels is None else f"-{self.labels if self.labels == REAL else Path(self.labels).stem}"
        name = f"{images}{labels}-{protocol.name}"
        if source.run is None or source.file is None:
            return Path(FOLDER) / safe(source.text) / safe(name)
        of_result = source.file.absolute() == source.run.weights.absolute()
        checkpoint = "" if of_result else f"-{source.file.parent.name}-{source.which}"
        return source.run.evaluations / safe(f"{name}{checkpoint}")

    def comparison_folder(self, first: Source, second: Source) -> Path:
        """The folder for the comparison of two sets of answers."""
        return self.output or Path(FOLDER) / f"{safe(first.text)}--{safe(second.text)}"


def safe(text: str) -> str:
    """A text as the name of a file or folder."""
    return re.sub(r"[^A-Za-z0-9.,+_-]+", "_", text).strip("_.") or "weights"


def own_protocol(recipe: Recipe) -> Protocol:
    """How a run measures its accuracy after each epoch."""
    return Protocol(squares=EvalViews.of(recipe.input))


def usual_input(model: str) -> InputConfig:
    """The input settings of one of our networks, for weights without a recipe."""
    side = TABLE[model].image_size if model in TABLE else 224
    return InputConfig(eval_crop=side, eval_resize=side if side <= 32 else resized_side(side, 0.875))
