"""The contents of a run directory: recipe, records, result, later evaluations, images. Loads no torch."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError

from data import schema
from data.catalog import known, manifest
from data.catalog.listing import SPLITS
from data.schema import NewerSchemaError
from data.types import BrokenImage
from trainer.checkpoint import files
from trainer.checkpoint.holder_file import Holder, look
from trainer.evaluation import outcome
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.outcome import Accuracy, accuracy
from trainer.evaluation.request import own_protocol
from trainer.evidence.history import History, history
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode
from trainer.recipe.identity import weights_hash
from trainer.rundir import RunDirectory
from trainer.telemetry.journal import lacking

Departure = tuple[str, Any, Any]
Stage = Literal["finished", "running", "diverged", "stopped"]

REPORTED = {  # of result.json
    *("top1", "top5", "images", "broken", "best_top1", "protocol", "images_seen", "train_replaced"),
    *("train_images", "train_broken", "val_images", "val_broken"),
}


@dataclass(frozen=True, slots=True)
class Split:
    """One manifest of a run."""

    images: int
    broken: tuple[BrokenImage, ...]
    sha256: str | None
    """None until all images are hashed."""
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Images:
    """What a run trains on."""

    data: str | None
    """Name of the published data set, if it is one."""
    why: str
    splits: dict[str, Split]
    """Empty where the run directory holds no manifests."""


@dataclass(frozen=True, slots=True)
class Named:
    """The recipe of the project that a run is nearest to."""

    name: str
    departures: Sequence[Departure]
    """Fields with another value, all but the seed: (dotted path, the recipe's, the run's)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What a run directory holds."""

    run: RunDirectory
    recipe: Recipe
    named: Named | None
    """None where no recipe trains this network."""
    history: History
    result: dict[str, Any] | None
    """What result.json holds; None until the run is finished."""
    accuracy: Accuracy | None
    """The result's, as it was measured at the end of training."""
    evaluations: Sequence[Accuracy]
    """Those made later, newest first."""
    images: Images
    gone: Sequence[str] = ()
    """What the run directory lacks now, in words."""
    weights_sha256: str | None = None
    """Of the weights that the result is of; None where the run directory does not hold them."""
    holder: Holder | None = None
    """The process that trains there now; None where none does, or this one."""

    @property
    def stage(self) -> Stage:
        if self.result:
            return "finished"
        last = self.history.events[-1:]
        return "running" if self.holder else "diverged" if last and last[0]["kind"] == "diverged" else "stopped"

    def sha256(self, split: str) -> str | None:
        """Hash of the list of a split's images; None where it is not stored."""
        stored = (self.result or {}).get(f"{split}_sha256")
        return stored or (self.images.splits[split].sha256 if self.images.splits else None)

    def is_of_result(self, measured: Accuracy) -> bool:
        """Whether an accuracy is of the run's own images, labels and final weights, of no earlier checkpoint."""
        own, theirs = self.weights_sha256, measured.weights_sha256
        same = theirs == own if own and theirs else measured.weights == _weights_kind(self.recipe)
        return same and measured.labels == SPLIT and measured.val_sha256 == self.sha256(SPLIT)


def read(run: RunDirectory) -> Account:
    """Read a run directory.

    Raises:
        InvalidConfigError: It is no run directory, or a file in it is damaged.
    """
    if not run.recipe.exists():
        raise InvalidConfigError([f"RUN: {run.path} is not a run directory: it holds no {run.recipe.name}"])
    recipe, result, past = recipes.load(str(run.recipe)), run.finished(), history(run.records())
    found = sorted(run.evaluations.glob("*/evaluation.json"), key=lambda file: (file.stat().st_mtime_ns, file))
    evaluations = [_evaluation(file, recipe) for file in reversed(found)]
    return Account(
        run=run,
        recipe=recipe,
        named=follows(recipe),
        history=past,
        gone=_gone(run, past),
        result=result,
        accuracy=_of_result(run.result, result, recipe) if result is not None else None,
        evaluations=evaluations,
        images=_images(run, result),
        weights_sha256=_weights_hash(run.weights) if evaluations else None,
        holder=look(run.holder).live,
    )


def follows(recipe: Recipe) -> Named | None:
    """The recipe of the project that trains this network and has the fewest fields with other values."""
    ours = encode(recipe)
    candidates = [
        Named(name, [leaf for leaf in differences(encode(other), ours) if leaf[0] != "seed"])
        for name, other in _named_recipes().items()
        if other.model.name == recipe.model.name
    ]
    return min(candidates, key=lambda named: len(named.departures), default=None)


@cache
def _named_recipes() -> dict[str, Recipe]:
    return {name: recipes.load(name) for name in recipes.names()}  # a third of a second, and the same for every run


def _weights_kind(recipe: Recipe) -> str:
    """Which weights the result is of: ema or raw."""
    return "ema" if recipe.ema.decay else "raw"


def _of_result(file: Path, content: dict[str, Any], recipe: Recipe) -> Accuracy:
    kinds = {name: str if name == "protocol" else (int, float) for name in REPORTED}
    if missing := [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]:
        raise InvalidConfigError([f"{file}: damaged (no {', '.join(sorted(missing))})"])
    name, seen = own_protocol(recipe).name, content["images_seen"]
    try:
        return accuracy(content, recipe, protocol=name, weights=_weights_kind(recipe), images_seen=seen)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidConfigError([f"{file}: damaged ({error})"]) from None


def _evaluation(file: Path, recipe: Recipe) -> Accuracy:
    try:
        content = schema.parse(file.read_text(encoding="utf-8"))
        schema.check(content.get("schema"), outcome.SCHEMA, file)
        low, high = content["top1_interval"]
        own = {name: str(content[name]) for name in ("protocol", "weights", "weights_sha256")}
        labels, interval = str(content["label_set"]), (float(low), float(high))
        return accuracy(content, recipe, **own, labels=labels, interval=interval)
    except NewerSchemaError as error:
        raise InvalidConfigError([str(error)]) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        fix = "remove its folder, and evaluate again"
        raise InvalidConfigError([f"{file}: damaged ({error!r}); {fix}"]) from None


def _gone(run: RunDirectory, past: History) -> list[str]:
    """The records that the newest checkpoint counted and that are not there."""
    with suppress(OSError, ValueError, IndexError):  # no checkpoint, or a damaged one
        newest = files.read_manifest(files.newest_first(run.checkpoints)[0])
        counted = newest.records or 0
        return [lacking(counted, past.records, newest.step)] if past.records < counted else []
    return []


def _weights_hash(file: Path) -> str | None:
    try:
        return weights_hash(file) if file.exists() else None
    except SafetensorError as error:
        raise InvalidConfigError([f"{file}: damaged ({error})"]) from None


def _images(run: RunDirectory, result: dict[str, Any] | None) -> Images:
    stored = result or {}
    if not all(run.manifest(split).exists() for split in SPLITS):
        return Images(stored.get("data_set"), "as the result says; the run directory holds no manifests", {})
    try:
        train, val = (manifest.load(run.manifest(split), run.path) for split in SPLITS)
    except manifest.DamagedManifestError as error:
        raise InvalidConfigError([str(error)]) from None
    splits = {
        split: Split(len(images), images.broken, stored.get(f"{split}_sha256") or images.fingerprint(), images.classes)
        for split, images in (("train", train), (SPLIT, val))
    }
    return Images(known.recognise(train, val), known.why(train, val), splits)
