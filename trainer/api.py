"""Provenet from Python, in the words of `trainer/API.md`; what `__all__` does not list is private.

Loads torch only where a function needs it. Functions raise `ProvenetError`, and show progress on stderr.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from data.catalog.layout import Layout
from data.catalog.listing import SPLITS
from data.types import Batch, Shard
from trainer import preflight
from trainer.evaluation.request import Accuracy, Answer, Prediction, Request
from trainer.failures import ProvenetError, raising
from trainer.recipe import recipes
from trainer.recipe.checks import recipe_problems, world_problems
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError, decode
from trainer.rundir import RunDirectory
from trainer.sources import locate
from trainer.stopping import StopFlag
from trainer.world import from_environment

if TYPE_CHECKING:
    from torch import Tensor, nn

    from data.load.loader import PlanLoader

__all__ = ["Accuracy", "Answer", "Batch", "Loader", "Prediction", "ProvenetError", "Recipe"]
__all__ += ["evaluate", "load_state", "loader", "network", "predict", "recipe", "save_state", "train"]

Name = str | PathLike[str]
T = TypeVar("T")
_LOADER = ("loader", "threads", "max_broken", "manifests", *(field.name for field in fields(Layout)))


class Loader:
    """The batches of a split in a run of the recipe, a pure function of its seed, the epoch and the batch's number."""

    batches_per_epoch: int
    classes: tuple[str, ...]
    """Their names, in the order of the targets."""

    def __init__(
        self, recipe: Recipe, batches: "PlanLoader", classes: tuple[str, ...], device: str, mixes: bool
    ) -> None:
        """Use `loader`."""
        import torch

        from trainer.engine.step import Normalize
        from trainer.optim.mixing import Mixing

        self._batches, self._device, self.classes = batches, torch.device(device), classes
        self.batches_per_epoch = batches.batches_per_epoch
        self._normalize = Normalize(recipe.input, self._device, channels_last=True)
        shift = recipe.input.augment.repeats
        self._mixing = Mixing(recipe.mixing, recipe.model.num_classes, shift) if mixes else None

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `first_batch` on, both counted from 0, the same whatever was read before.

        Raises:
            ProvenetError: More images broke than `max_broken` allows.
        """
        with raising():
            yield from self._batches.epoch(epoch, first_batch)

    def inputs(self, batch: Batch) -> "tuple[Tensor, Tensor]":
        """Images (N, 3, H, W) float32, normalised, channels last, and targets (N,) int64, both on the device.

        Where the recipe mixes the images of a training batch, its targets are (N, C) float32 shares of the classes.
        """
        images, targets = self._normalize.training(batch), batch.targets.to(self._device)
        return self._mixing(images, targets, batch.mixing) if self._mixing else (images, targets)

    def close(self) -> None:
        """Stop the threads and free the memory, as the end of `with` does."""
        self._batches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@raising()
def recipe(name: Name, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe: one of the project's, or a YAML file such as a run directory's `recipe.yaml`.

    `settings` are other values than the file's, by dotted path.
    """
    read = recipes.load(fspath(name), settings)
    _refuse([*recipe_problems(read), *preflight.network_problems(read)])
    return read


@raising()
def network(recipe: Recipe) -> "nn.Module":
    """What a run begins with: images (N, 3, H, W) float -> logits (N, C), on the CPU, in training mode.

    The weights follow from the recipe's seed, or are those of `init.weights`; `init.freeze` is applied.
    """
    _refuse([*preflight.network_problems(recipe), *preflight.size_problems(recipe)])
    from trainer import initial

    return initial.network(recipe)


@raising()
def loader(
    recipe: Recipe,
    data: Name,
    *,
    split: Literal["train", "val"] = "train",
    run: Name | None = None,
    device: str = "cpu",
    shard: tuple[int, int] = (0, 1),
    **settings: Any,
) -> Loader:
    """Open `train`, shuffled and augmented micro-batches, or `val`, each image once, cropped to evaluate.

    Args:
        recipe: What happens to the images, and how many are in a batch.
        data: As `--data`.
        split: Which images.
        run: Directory of a loop of your own: keeps recipe and list of images, which are refused where they differ.
        device: Where the batches are used.
        shard: This process's rank among how many.
        settings: `loader`, `threads`, `max_broken`, `manifests`, and what the folders do not say, as of `train`.
    """
    wrong = [f"{name}: unknown; known: {', '.join(_LOADER)}" for name in settings if name not in _LOADER]
    wrong += [] if split in SPLITS else [f"split: {split!r}; known: {', '.join(SPLITS)}"]
    _refuse([*wrong, *([] if 0 <= shard[0] < shard[1] else [f"shard: {shard}; must be a rank from 0, and how many"])])
    with ExitStack() as stack, redirect_stdout(sys.stderr):
        folder = run or stack.enter_context(TemporaryDirectory())
        site = _decoded(SiteConfig, data=data, output=folder, **settings)
        recipe = preflight.adopted(recipe, site)
        _refuse([*preflight.place_problems(recipe, site), *world_problems(recipe, shard[1])])
        from trainer.engine.split import opened

        recipe, _ = preflight.begun(recipe, site)
        batches, classes = opened(recipe, site, split, device, Shard(*shard))
        return Loader(recipe, batches, classes, device, mixes=split == "train")


@raising()
def train(recipe: Recipe, data: Name, output: Name, **settings: Any) -> Accuracy:
    """Do what `provenet train` does, in this process or all that a launcher started; a finished run is left as it is.

    `data`, `output` and `settings` are its flags of the site, `_` for `-`: `threads=2`. Ctrl-C saves, then raises.
    """
    site, world, stop = _decoded(SiteConfig, data=data, output=output, **settings), from_environment(), StopFlag()
    recipe, run = preflight.adopted(recipe, site), RunDirectory(site.output)
    _refuse(preflight.problems(recipe, site, world))
    from trainer.ending import complete_end
    from trainer.train import start

    with redirect_stdout(sys.stderr), stop.installed():
        if not run.finished() and (code := start(recipe, site, world, stop)):
            raise ProvenetError(f"stopped and saved; the same call goes on in {run.path}", code)
        if world.is_main and run.is_cut_short():
            complete_end(run, stop)
    return _accuracy(run.finished() or {})


@raising()
def evaluate(weights: Name, data: Name, **settings: Any) -> Accuracy:
    """Do what `provenet evaluate` does: `weights` and `settings` are its words and flags; writes the same files."""
    request, world = _decoded(Request, data=data, **settings), from_environment()
    sources = [locate(fspath(weights), request.recipe, request.entry)]
    from trainer.evaluation import checks, session

    checks.check(request, sources, world)
    with redirect_stdout(sys.stderr):
        (answers,) = session.evaluate(request, sources, world)
    return _accuracy(answers.about)


@raising()
def predict(weights: Name, images: Name | Sequence[Name], *, topk: int = 5, **settings: Any) -> list[Prediction]:
    """The `topk` most probable classes of each image, in the order in which `provenet predict` finds the images.

    A broken image is an error, unless `max_broken` allows for it: such come last, without classes.
    """
    unused = [
        name for name in ("data", "labels", "output", *(field.name for field in fields(Layout))) if name in settings
    ]
    wrong = [] if 1 <= topk <= 1000 else [f"topk: {topk}; must be at least 1 and at most 1000"]
    _refuse([*wrong, *(f"{name}: does not apply to images without labels" for name in unused)])
    request, world = _decoded(Request, **{"max_broken": 0.0, **settings}), from_environment()
    source = locate(fspath(weights), request.recipe, request.entry)
    words = [fspath(one) for one in ([images] if isinstance(images, str | PathLike) else images)]
    from trainer.evaluation import checks
    from trainer.evaluation.predict import answers

    listing = checks.listed(request, source, words, world)
    with redirect_stdout(sys.stderr):
        rows, broken, _ = answers(request, source, listing, topk, world)
    return [*rows, *(Prediction(image.name, ()) for image in broken)]


@raising()
def save_state(run: Name, step: int, state: Mapping[str, Any], *, keep: int = 3) -> None:
    """Write a checkpoint of a loop of your own after `step` steps, whole or not at all; in one process.

    `state` holds tensors by name as `model`, and all else that the next step needs: tensors and plain values, nested.
    The newest `keep` are kept. A step that is there already is not written again.
    """
    from trainer.checkpoint.saving import write_now

    low = [
        f"{name}: {one}; must be at least {least}"
        for name, one, least in (("step", step, 0), ("keep", keep, 1))
        if one < least
    ]
    _refuse(low)
    folder = RunDirectory(Path(run))
    folder.make()
    write_now(folder.checkpoints, step, state, keep)


@raising()
def load_state(run: Name) -> tuple[int, dict[str, Any]]:
    """The step and the state of the newest whole checkpoint, on the CPU; 0 and {} where there is none."""
    from trainer.checkpoint import files, store

    folder = RunDirectory(Path(run)).checkpoints
    _refuse([newer] if (newer := files.newer(folder)) else [])
    state = store.load_newest(folder) or {"step": 0}
    return state["step"], {name: part for name, part in state.items() if name not in ("step", "about")}


def _decoded(kind: type[T], **values: Any) -> T:
    return decode(kind, {name: fspath(one) if isinstance(one, PathLike) else one for name, one in values.items()})


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InvalidConfigError(problems)


def _accuracy(facts: Mapping[str, Any]) -> Accuracy:
    return Accuracy(**{name: facts[name] for name in ("top1", "top5", "loss", "images")}, facts=facts)
