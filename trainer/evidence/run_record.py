"""What a run directory tells, read once: recipe, records, result, later evaluations, images. Loads no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from data import schema
from data.catalog import known, manifest
from data.catalog.manifest import Manifest
from data.output_folder import SPLITS
from data.schema import NewerSchemaError
from data.types import BrokenImage
from trainer.evaluation import outcome
from trainer.evaluation.request import own_protocol
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode
from trainer.recipe.identity import weights_hash
from trainer.rundir import RunDirectory

Records = list[dict[str, Any]]
Departure = tuple[str, Any, Any]

VAL = "val"  # the labels that the images came with


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """An accuracy, and what it is of."""

    top1: float
    """Percent."""
    top5: float
    """Percent."""
    images: int
    broken: int
    protocol: str
    """Name, as `trainer.evaluation.protocol` writes it."""
    weights: str
    """raw or ema."""
    labels: str
    """`VAL`, or a name of other labels."""
    val_sha256: str | None
    """Of the images; None where nobody noted it."""
    weights_sha256: str | None = None
    """Of the weights; None where nobody noted it."""
    interval: tuple[float, float] | None = None
    """95 % interval of top-1, percent, by the number of images."""


@dataclass(frozen=True, slots=True)
class Split:
    """One manifest of a run."""

    images: int
    broken: tuple[BrokenImage, ...]
    sha256: str


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
    """The recipe of the project that a run follows."""

    name: str
    departures: Sequence[Departure]
    """Fields with another value, all but the seed: (dotted path, there, here)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A run as its directory tells it."""

    run: RunDirectory
    recipe: Recipe
    named: Named | None
    """None where no recipe trains this network."""
    records: Records
    result: dict[str, Any] | None
    """None until it is finished."""
    evaluations: Sequence[Score]
    """Those made later, newest first."""
    images: Images
    weights_sha256: str | None = None
    """Of the weights that the result is of; None where the run directory does not hold them."""

    @property
    def weights(self) -> str:
        """Which weights the result is of."""
        return "ema" if self.recipe.ema.decay else "raw"

    @property
    def protocol(self) -> str:
        """Name of the protocol of the evaluations during training."""
        return (self.result or {}).get("protocol_name") or own_protocol(self.recipe).name

    @property
    def score(self) -> Score | None:
        """The result, as the evaluation at the end of training found it."""
        found = self.result
        if found is None:
            return None
        return Score(
            top1=found["top1"],
            top5=found["top5"],
            images=found.get("images", 0),
            broken=found.get("broken", 0),
            protocol=self.protocol,
            weights=self.weights,
            labels=VAL,
            val_sha256=self.sha256(VAL),
        )

    def sha256(self, split: str) -> str | None:
        """Fingerprint of a split's images; None where nobody noted it."""
        noted = (self.result or {}).get(f"{split}_sha256")
        return noted or (self.images.splits[split].sha256 if self.images.splits else None)

    def is_of_result(self, score: Score) -> bool:
        """Whether an evaluation is of the run's own images, labels and final weights, of no earlier checkpoint."""
        own = self.weights_sha256
        same = score.weights_sha256 == own if own and score.weights_sha256 else score.weights == self.weights
        return same and score.labels == VAL and score.val_sha256 == self.sha256(VAL)

    def of_kind(self, kind: str) -> Records:
        """The records of a kind: start, train, eval, eval_ema."""
        return [record for record in self.records if record["kind"] == kind]


def read(run: RunDirectory) -> Account:
    """Read all of it.

    Raises:
        InvalidConfigError: It is no run directory, or a file in it is damaged.
    """
    if not run.recipe.exists():
        raise InvalidConfigError([f"RUN: {run.path} is not a run directory: it holds no {run.recipe.name}"])
    recipe, result = recipes.load(str(run.recipe)), run.finished()
    if result is not None and not all(isinstance(result.get(name), int | float) for name in ("top1", "top5")):
        raise InvalidConfigError([f"{run.result}: damaged (no top1 and top5)"])
    evaluations = _evaluations(run.evaluations)
    return Account(
        run=run,
        recipe=recipe,
        named=follows(recipe),
        records=run.records(),
        result=result,
        evaluations=evaluations,
        images=_images(run, result),
        weights_sha256=_weights(run.weights) if evaluations else None,
    )


def follows(recipe: Recipe) -> Named | None:
    """The named recipe of this network with the fewest other fields."""
    ours = encode(recipe)
    found = [
        Named(name, [leaf for leaf in differences(encode(other), ours) if leaf[0] != "seed"])
        for name, other in _named_recipes().items()
        if other.model.name == recipe.model.name
    ]
    return min(found, key=lambda named: len(named.departures), default=None)


@cache
def _named_recipes() -> dict[str, Recipe]:
    return {name: recipes.load(name) for name in recipes.names()}  # a third of a second, and the same for every run


def _evaluations(folder: Path) -> list[Score]:
    files = sorted(folder.glob("*/evaluation.json"), key=lambda file: (file.stat().st_mtime_ns, file), reverse=True)
    return [_evaluation(file) for file in files]


def _evaluation(file: Path) -> Score:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        schema.check(found.get("schema"), outcome.SCHEMA, file)
        low, high = found["top1_interval"]
        return Score(
            top1=float(found["top1"]),
            top5=float(found["top5"]),
            images=int(found["images"]),
            broken=int(found["broken"]),
            protocol=str(found["protocol"]),
            weights=str(found["weights"]),
            labels=str(found["label_set"]),
            val_sha256=found["val_sha256"],
            weights_sha256=found["weights_sha256"],
            interval=(float(low), float(high)),
        )
    except NewerSchemaError as error:
        raise InvalidConfigError([str(error)]) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        mend = "remove its folder, and evaluate again"
        raise InvalidConfigError([f"{file}: damaged ({error!r}); {mend}"]) from None


def _weights(file: Path) -> str | None:
    try:
        return weights_hash(file) if file.exists() else None
    except SafetensorError as error:
        raise InvalidConfigError([f"{file}: damaged ({error})"]) from None


def _images(run: RunDirectory, result: dict[str, Any] | None) -> Images:
    noted = result or {}
    if not all(run.manifest(split).exists() for split in SPLITS):
        return Images(noted.get("data_set"), "as the result says; the run directory holds no manifests", {})
    try:
        train, val = (manifest.load(run.manifest(split), run.path) for split in SPLITS)
    except manifest.DamagedManifestError as error:
        raise InvalidConfigError([str(error)]) from None
    splits = {split: _split(images, noted.get(f"{split}_sha256")) for split, images in ((SPLITS[0], train), (VAL, val))}
    return Images(known.recognise(train, val), known.why(train, val), splits)


def _split(images: Manifest, sha256: str | None) -> Split:
    return Split(len(images), images.broken, sha256 or images.fingerprint())
