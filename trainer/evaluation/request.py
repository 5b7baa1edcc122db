"""The request of an evaluation: weights, images, protocol, and the folder for the figures. Loads no torch."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data.plan.config import EvalViews, InputConfig
from data.types import Backend
from models import registry
from models.class_names import REAL
from models.config import ModelConfig
from models.registry import model_names
from models.table import TABLE
from trainer.checkpoint import files
from trainer.evaluation.protocol import Protocol, resized_side
from trainer.recipe import recipes
from trainer.recipe.config import Precision, Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory

FOLDER = "evaluations"
PREDICTIONS = "predictions.npz"
PACKAGES = ("timm", "torchvision")
EXPECTED = "a run directory, a file of weights, timm/NAME, torchvision/NAME or a predictions.npz"

Which = Literal["raw", "ema"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Weights to evaluate, or the stored answers of an evaluation."""

    text: str
    """As the user typed it."""
    kind: Literal["weights", "package", "predictions"]
    file: Path | None = None
    """The weights or the predictions."""
    recipe: Recipe | None = None
    """Of the run that the weights come from, or named by `--recipe`."""
    which: Which = "raw"
    """ema: the moving average of a run's weights."""
    run: RunDirectory | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The settings of an evaluation, flags of `provenet evaluate`."""

    data: Path | None = None
    """Data set with a folder val, or a folder of class folders, such as ImageNet-V2, -A, -R and -Sketch."""
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


def locate(text: str, recipe: str | None, *, raw: bool = False) -> Source:
    """Find what a word of the command line names.

    Args:
        text: The word.
        recipe: Name or path of the recipe that weights were trained with, where no run directory says so.
        raw: Of a run with a moving average, use the weights themselves.

    Raises:
        InvalidConfigError: There is nothing of the kind.
    """
    path = Path(text)
    if path.is_dir() and (path / PREDICTIONS).exists():
        return Source(text=text, kind="predictions", file=path / PREDICTIONS)
    if path.is_dir():
        return _run(text, RunDirectory(path), raw=raw)
    if path.is_file():
        stored = path.suffix == ".npz"
        return Source(text=text, kind="predictions", file=path) if stored else _file(text, path, recipe)
    if text.partition("/")[0] in PACKAGES:
        return _packaged(text)
    model = text.partition(".")[0]
    near = "".join([f"; did you mean {package}/{text}?" for package in PACKAGES if model in model_names(package)][:1])
    raise InvalidConfigError([f"WEIGHTS: {text!r} is nothing that can be evaluated; name {EXPECTED}{near}"])


def own_protocol(recipe: Recipe) -> Protocol:
    """How a run measures its accuracy after each epoch."""
    return Protocol(squares=EvalViews.of(recipe.input))


def usual_input(model: str) -> InputConfig:
    """The input settings of one of our networks, for weights without a recipe."""
    side = TABLE[model].image_size if model in TABLE else 224
    return InputConfig(eval_crop=side, eval_resize=side if side <= 32 else resized_side(side, 0.875))


def _run(text: str, run: RunDirectory, *, raw: bool) -> Source:
    if not run.recipe.exists():
        raise InvalidConfigError([f"WEIGHTS: {text} is a folder without {run.recipe.name}; name {EXPECTED}"])
    recipe = recipes.load(str(run.recipe))
    which: Which = "ema" if recipe.ema.decay and not raw else "raw"
    of_result = not (raw and recipe.ema.decay)
    file = run.weights if of_result and run.weights.exists() else _newest(run, which)
    return Source(text=text, kind="weights", file=file, recipe=recipe, which=which, run=run)


def _newest(run: RunDirectory, which: Which) -> Path:
    checkpoint = files.newest_valid(run.checkpoints) if run.checkpoints.is_dir() else None
    if checkpoint is None:
        raise InvalidConfigError(
            [f"WEIGHTS: {run.path} holds no weights yet: no valid checkpoint in {run.checkpoints}"]
        )
    return checkpoint / (files.EMA if which == "ema" else files.MODEL)


def _file(text: str, path: Path, recipe: str | None) -> Source:
    above = (RunDirectory(folder) for folder in path.absolute().parents[:3])
    run = next((run for run in above if run.recipe.exists()), None)
    if recipe is None and run is None:
        return Source(text=text, kind="weights", file=path)
    used = recipes.load(recipe or str(run.recipe if run else ""))
    averaged = path.name == files.EMA or bool(run and path.absolute() == run.weights.absolute() and used.ema.decay)
    which: Which = "ema" if averaged else "raw"
    return Source(text=text, kind="weights", file=path, recipe=used, which=which, run=None if recipe else run)


def _packaged(text: str) -> Source:
    package, _, name = text.partition("/")
    untagged = text if package == "timm" else f"{package}/{name.partition('.')[0]}"
    if problems := registry.problems(ModelConfig(name=untagged), 224):
        raise InvalidConfigError([f"WEIGHTS: {problem.removeprefix('model.name: ')}" for problem in problems])
    return Source(text=text, kind="package")
