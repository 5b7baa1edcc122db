"""What a user names weights by: a run directory, a file, a package's weights. Loads no torch."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from data.plan.config import InputConfig
from models import registry
from models.config import ModelConfig
from models.registry import model_names
from trainer import imports
from trainer.checkpoint import files
from trainer.recipe import recipes
from trainer.recipe.config import Followed, InitConfig, Recipe
from trainer.recipe.decode import InvalidConfigError, decode
from trainer.rundir import RunDirectory

PREDICTIONS = "predictions.npz"
PACKAGES = ("timm", "torchvision")
HUBS = ("hf-hub:", "local-dir:")  # what timm puts before a repository of the Hugging Face hub, and before a folder
EXPECTED = "a run directory, a file of weights, timm/NAME, torchvision/NAME, hf-hub:OWNER/NAME or local-dir:FOLDER"

SIZES = ("train_size", "eval_resize", "eval_crop")
FOLLOWED = get_args(Followed)
"""Input settings that belong to weights."""
_USUAL = InputConfig()

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
    entry: str | None = None
    """The one to take of a file that holds several, as `models.entries.chosen` takes it."""
    run: RunDirectory | None = None

    @property
    def package(self) -> tuple[str, str]:
        """The package that loads it, and its name there."""
        package, _, name = self.text.partition("/")
        return ("timm", self.text) if self.text.startswith(HUBS) else (package, name)


def known_input(settings: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The input settings in a file of weights that this version knows.

    Raises:
        InvalidConfigError: A value is of another type, or out of its range; `text` names the file.
    """
    ours = {one.name for one in fields(InputConfig)}
    evaluated = {"interpolation": "eval_interpolation"}  # theirs is that of the evaluation
    theirs = {evaluated.get(name, name): value for name, value in settings.items()}
    theirs = {name: value for name, value in theirs.items() if name in ours}
    try:
        decoded = decode(InputConfig, theirs)
    except InvalidConfigError as error:
        raise InvalidConfigError(
            f"weights: {text}: damaged settings: {problem}" for problem in error.problems
        ) from None
    return {name: getattr(decoded, name) for name in theirs}


def locate(text: str, recipe: str | None, entry: str | None = None) -> Source:
    """Find what a word of the command line names.

    Args:
        text: The word.
        recipe: Name or path of the recipe that weights were trained with, where no run directory says so.
        entry: Which weights of a file or run that holds several: raw, ema, or as the file names them.

    Raises:
        InvalidConfigError: There is nothing of the kind.
    """
    path = Path(text)
    if path.is_dir() and (path / PREDICTIONS).exists():
        return Source(text=text, kind="predictions", file=path / PREDICTIONS)
    if path.is_dir():
        return _run(text, RunDirectory(path), entry)
    if path.is_file():
        stored = path.suffix == ".npz"
        return Source(text=text, kind="predictions", file=path) if stored else _file(text, path, recipe, entry)
    if text.startswith(HUBS):
        return _hub(text)
    if text.partition("/")[0] in PACKAGES:
        return _packaged(text)
    model = text.partition(".")[0]
    near = "".join([f"; did you mean {package}/{text}?" for package in PACKAGES if model in model_names(package)][:1])
    raise InvalidConfigError([f"WEIGHTS: {text!r} names no weights; name {EXPECTED}{near}"])


def with_code(source: Source) -> Source:
    """The same once the code of its run is executed, where its network is the user's.

    Raises:
        InvalidConfigError: The run's copy of it is gone, or could be another user's.
    """
    recipe = source.recipe
    if not recipe or not source.run or registry.is_ours(recipe.model.name) or "/" in recipe.model.name:
        return source
    if registry.is_users(recipe.model.name) and not imports.LOADED.keys() >= {*(recipe.code or ())}:
        fix = "leave --import out; of two runs, evaluate each alone and --compare their predictions.npz"
        raise InvalidConfigError([f"WEIGHTS: {source.text}: there is another network {recipe.model.name} now; {fix}"])
    imports.resolved(recipe, (), source.run.path)
    return source


def _run(text: str, run: RunDirectory, entry: str | None) -> Source:
    if not run.recipe.exists() and (run.path / "config.json").exists():
        raise InvalidConfigError([f"WEIGHTS: {text} is no run directory; did you mean local-dir:{text}?"])
    if not run.recipe.exists():
        raise InvalidConfigError([f"WEIGHTS: {text} is a folder without {run.recipe.name}; name {EXPECTED}"])
    recipe = recipes.load(str(run.recipe))
    if entry not in (None, "raw", *(["ema"] if recipe.ema.decay else [])):
        both = "raw and ema" if recipe.ema.decay else "raw alone, as its recipe has no moving average"
        raise InvalidConfigError([f"WEIGHTS: {text} has no entry {entry!r}; it has {both}"])
    which: Which = "ema" if recipe.ema.decay and entry != "raw" else "raw"
    of_result = which == "ema" or not recipe.ema.decay
    file = run.weights if of_result and run.weights.exists() else _newest(run, which)
    return Source(text=text, kind="weights", file=file, recipe=recipe, which=which, run=run)


def _newest(run: RunDirectory, which: Which) -> Path:
    checkpoint = files.newest_valid(run.checkpoints) if run.checkpoints.is_dir() else None
    if checkpoint is None:
        raise InvalidConfigError(
            [f"WEIGHTS: {run.path} holds no weights yet: no valid checkpoint in {run.checkpoints}"]
        )
    return checkpoint / (files.EMA if which == "ema" else files.MODEL)


def _file(text: str, path: Path, recipe: str | None, entry: str | None) -> Source:
    above = (RunDirectory(folder) for folder in path.absolute().parents[:3])
    run = next((run for run in above if run.recipe.exists()), None)
    if recipe is None and run is None:
        return Source(text=text, kind="weights", file=path, entry=entry)
    used = recipes.load(recipe or str(run.recipe if run else ""))
    averaged = path.name == files.EMA or bool(run and path.absolute() == run.weights.absolute() and used.ema.decay)
    which: Which = "ema" if averaged else "raw"
    own = None if recipe else run
    return Source(text=text, kind="weights", file=path, recipe=used, which=which, entry=entry, run=own)


def _hub(text: str) -> Source:
    kind, _, name = text.partition(":")
    if kind == "local-dir" and not Path(name, "config.json").is_file():
        raise InvalidConfigError([f"WEIGHTS: {name or text} is no folder with a config.json of timm's"])
    if kind == "hf-hub" and not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        raise InvalidConfigError([f"WEIGHTS: {text}; name hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"])
    return Source(text=text, kind="package")


def _packaged(text: str) -> Source:
    package, _, name = text.partition("/")
    untagged = text if package == "timm" else f"{package}/{name.partition('.')[0]}"
    if problems := registry.problems(ModelConfig(name=untagged), 224):
        raise InvalidConfigError([f"WEIGHTS: {problem.removeprefix('model.name: ')}" for problem in problems])
    return Source(text=text, kind="package")


def adopted(recipe: Recipe, stored: Recipe) -> Recipe:
    """The recipe with what `resolved` has filled in at the run's first start, if it names the same weights."""
    init, keep = replace(recipe.init, keep=None), recipe.init.keep or ()
    recipe = replace(recipe, init=init)
    if init.weights and stored.init == untrained(init):
        return replace(recipe, init=stored.init)
    if not init.weights or stored.init.weights != placed(init.weights) or init.sha256 not in (None, stored.init.sha256):
        return recipe
    theirs = {name: getattr(stored.input, name) for name in FOLLOWED}
    follow = changes(recipe.input, theirs, keep)
    return replace(
        recipe,
        init=replace(init, weights=stored.init.weights, sha256=stored.init.sha256),
        input=replace(recipe.input, **follow),
    )


def placed(text: str) -> str:
    """The weights' name, with an absolute path if it is one."""
    if text.startswith("local-dir:"):
        return f"local-dir:{Path(text.removeprefix('local-dir:')).absolute()}"
    return text if is_packaged(text) else str(Path(text).absolute())


def is_packaged(text: str) -> bool:
    """Whether these weights are a package's or a hub's, which may have to be downloaded."""
    return (text.partition("/")[0] in PACKAGES or text.startswith("hf-hub:")) and not Path(text).exists()


def untrained(init: InitConfig) -> InitConfig:
    """The same from random weights, as `--smoke` begins where a package's would have to be downloaded."""
    return replace(init, weights=None, head=None, keep=None, sha256=None)


def changes(ours: InputConfig, theirs: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
    """The weights' settings for what `ours` leaves at its defaults and `keep` does not name."""
    groups = [("mean",), ("std",), SIZES, ("eval_interpolation",)]
    states = {
        name for group in groups for name in group if name in keep or getattr(ours, name) != getattr(_USUAL, name)
    }
    free = [name for group in groups if states.isdisjoint(group) for name in group]
    sizes = {"train_size": theirs["eval_crop"]} if "eval_crop" in theirs else {}
    every = {**sizes, **theirs}
    return {name: every[name] for name in free if name in every and every[name] != getattr(ours, name)}
