"""What an evaluation was asked to look at: a run, a file of weights, a package's weights, or stored predictions.

Loads no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.plan.config import InputConfig
from models import registry
from models.config import ModelConfig
from models.registry import model_names
from models.table import TABLE
from trainer.checkpoint import files
from trainer.evaluation.protocol import Protocol, center, resized_side
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory

PREDICTIONS = "predictions.npz"
PACKAGES = ("timm", "torchvision")
EXPECTED = "a run directory, a file of weights, timm/NAME, torchvision/NAME or a predictions.npz"

Which = Literal["raw", "ema"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Something to evaluate, or that has been."""

    text: str
    """As the user wrote it."""
    kind: Literal["weights", "package", "predictions"]
    file: Path | None = None
    """The weights or the predictions."""
    recipe: Recipe | None = None
    """Of the run that the weights come from, or as given for them."""
    which: Which = "raw"
    """Whether the weights are the moving average of a run's."""
    run: RunDirectory | None = None

    @property
    def package(self) -> tuple[str, str]:
        """Package and name in it, with a tag where one was given."""
        package, _, name = self.text.partition("/")
        return package, name


def locate(text: str, recipe: str | None, *, raw: bool = False) -> Source:
    """Find what a word of the command line means.

    Args:
        text: The word.
        recipe: Name or path of the recipe that weights were trained with, where no run directory says so.
        raw: Of a run that keeps a moving average take the weights themselves.

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
    return center(recipe.input.eval_crop, recipe.input.eval_resize)


def usual_input(model: str) -> InputConfig:
    """How images for one of our networks are usually made, where nothing else says it."""
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
            [f"WEIGHTS: {run.path} holds no weights yet: {run.checkpoints} has no valid checkpoint"]
        )
    return checkpoint / (files.EMA if which == "ema" else files.MODEL)


def _file(text: str, path: Path, recipe: str | None) -> Source:
    run = next((RunDirectory(folder) for folder in path.absolute().parents[:3] if _is_run(folder)), None)
    if recipe is None and run is None:
        return Source(text=text, kind="weights", file=path)
    found = recipes.load(recipe or str(run.recipe if run else ""))
    averaged = path.name == files.EMA or bool(run and path.absolute() == run.weights.absolute() and found.ema.decay)
    return Source(
        text=text,
        kind="weights",
        file=path,
        recipe=found,
        which="ema" if averaged else "raw",
        run=None if recipe else run,
    )


def _is_run(folder: Path) -> bool:
    return RunDirectory(folder).recipe.exists()


def _packaged(text: str) -> Source:
    package, _, name = text.partition("/")
    untagged = text if package == "timm" else f"{package}/{name.partition('.')[0]}"
    found = registry.problems(ModelConfig(name=untagged), 224)
    if found:
        raise InvalidConfigError([f"WEIGHTS: {problem.removeprefix('model.name: ')}" for problem in found])
    return Source(text=text, kind="package")
