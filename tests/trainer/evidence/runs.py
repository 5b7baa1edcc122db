"""Runs to report on: as they are read, and as they lie on disk."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.request import own_protocol
from trainer.evidence.history import History
from trainer.evidence.run_record import Account, Images, follows
from trainer.evidence.targets import Target
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory

TARGET = Target("torchvision", 76.13, 92.86, 90, "its README")
PAPER = replace(
    TARGET, by="paper", top1=75.3, top5=92.2, reading=0.2, protocol="ten-crop-224/256", hours="29 h on 8 P100"
)
TARGETS = {"resnet50": (TARGET, PAPER)}

START = {
    "kind": "start",
    "step": 0,
    "time": 0.0,
    "host": "n1",
    "device": "NVIDIA H100",
    "world_size": 8,
    "launcher": "srun",
    "threads": 1,
    "loader": "dali_gpu",
    "python": "3.12.1",
    "packages": {"torch": "2.15.0"},
    "commit": "0123456789abcdef+",
}
RESULT = {
    "top1": 76.2,
    "top5": 92.9,
    "best_top1": 76.25,
    "images": 49_999,
    "broken": 1,
    "train_replaced": 7,
    "train_broken": 5,
    "val_broken": 0,
    "protocol": "centre crop, in words",
    "images_seen": 115_200_000,
    "epochs": 90,
    "train_images": 1_281_167,
    "val_images": 50_000,
    "seed": 3,
    "commit": "abc",
    "raw_weights": {"top1": 75.5, "top5": 92.25},
    "recipe_sha256": "r",
    "train_sha256": "t",
    "val_sha256": "v",
    "data_set": "imagenet-1k",
}


def recipe(name: str = "resnet50", **fields: Any) -> Recipe:
    """A named recipe with some fields changed."""
    return replace(recipes.load(name), **fields)


def account(
    top1: float | None,
    *,
    recipe: Recipe,
    data: str | None = "imagenet-1k",
    why: str = "",
    evaluations: Sequence[Accuracy] = (),
    path: str = "runs/r50",
) -> Account:
    """A run with this accuracy; None: it is not finished."""
    averaged = "ema" if recipe.ema.decay else "raw"
    measured = [] if top1 is None else [score(top1, own_protocol(recipe).name, top5=92.9, weights=averaged)]
    return Account(
        run=RunDirectory(Path(path)),
        recipe=recipe,
        named=follows(recipe),
        history=History(),
        result=None if top1 is None else {**RESULT, "top1": top1},
        accuracy=next(iter(measured), None),
        evaluations=evaluations,
        images=Images(data, why, {}),
        weights_sha256="w",
    )


def score(top1: float, protocol: str = "center-224/256", **fields: Any) -> Accuracy:
    """An evaluation made later, of the run's own weights and images."""
    made = Accuracy(
        top1=top1,
        top5=93.0,
        images=50_000,
        broken=0,
        protocol=protocol,
        weights="raw",
        seed=3,
        recipe_sha256="r",
        commit="abc",
        train_sha256="t",
        val_sha256="v",
        weights_sha256="w",
    )
    return replace(made, **fields)


def train_records(count: int, **fields: Any) -> list[dict[str, Any]]:
    """A point a minute."""
    point = {"kind": "train", "images_per_s": 100.0, "data_wait": 0.125, "memory_gb": 1.5, "broken": 0, "epoch": 0}
    return [
        {**point, "step": s, "time": 60.0 * s, "loss": 7 - s, "top1": 10.0 * s, "lr": 0.1 / s, **fields}
        for s in range(1, count + 1)
    ]


EVALUATION = {"kind": "eval", "step": 6, "epoch": 2, "loss": 1.5, "top1": 55.5, "top5": 88.25, "time": 400.0}


def write(
    folder: Path, recipe: Recipe, records: Sequence[dict[str, Any]] = (), result: dict[str, Any] | None = None
) -> RunDirectory:
    """A run on disk, without its manifests."""
    run = RunDirectory(folder)
    run.make()
    run.begin(recipe)
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    if result:
        run.result.write_text(json.dumps(result))
    return run


def evaluate(run: RunDirectory, name: str, **fields: Any) -> Path:
    """What `provenet evaluate` leaves."""
    folder = run.evaluations / name
    folder.mkdir(parents=True)
    found = {
        "protocol": "center-224/256",
        "protocol_words": "words",
        "label_set": "val",
        "weights": "raw",
        "top1": 76.0,
        "top5": 93.0,
        "loss": 0.9,
        "images": 50_000,
        "broken": 0,
        "top1_interval": [75.63, 76.37],
        "ece": 0.02,
        "val_sha256": "v",
        "train_sha256": None,
        "weights_sha256": "w",
    }
    file = folder / "evaluation.json"
    file.write_text(json.dumps({**found, **fields}))
    return file
