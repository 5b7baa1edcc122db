"""What makes a number a result: what was evaluated, on what, by which code."""

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from data.catalog import known
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from trainer.commit import commit
from trainer.engine.state import TrainState, headline
from trainer.evaluation.request import own_protocol
from trainer.recipe.config import Recipe
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RESULT_SCHEMA
from trainer.runtime import Runtime

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "numpy")


def environment(runtime: Runtime, loader: str) -> dict[str, Any]:
    """Where this stretch of the run runs, and with what."""
    on_gpu = runtime.device.type == "cuda"
    return {
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name(runtime.device) if on_gpu else f"CPU ({platform.machine()})",
        "world_size": runtime.world.world_size,
        "launcher": runtime.world.launcher,
        "threads": runtime.threads,
        "loader": loader,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": commit(),
    }


def other_threads(records: list[dict[str, Any]], now: dict[str, Any]) -> str | None:
    """Why a run that goes on may end with other bits than it would have: sums on a CPU follow its threads."""
    before = next((record["threads"] for record in records if record["kind"] == "start"), now["threads"])
    if before == now["threads"] or not now["device"].startswith("CPU"):
        return None
    return (
        f"this run began with {before} CPU threads a process and goes on with {now['threads']}: sums are rounded in "
        f"another order; --threads {before} keeps the bits"
    )


def result_of(recipe: Recipe, state: TrainState, train: TrainPlan, val: EvalPlan) -> dict[str, Any]:
    """The accuracy after the last epoch, with everything needed to know what it means."""
    raw = {"raw_weights": state.scores["raw"]} if "ema" in state.scores else {}
    return {
        "schema": RESULT_SCHEMA,
        **headline(state),
        **raw,
        "train_replaced": state.broken,
        "best_top1": state.best_top1,
        "protocol": protocol(recipe),
        "protocol_name": own_protocol(recipe).name,
        "data_set": known.recognise(train.manifest, val.manifest),
        "model": recipe.model.name,
        "epochs": recipe.epochs,
        "images_seen": train.images_seen(state.step),
        "seed": recipe.seed,
        "recipe_sha256": recipe_hash(recipe),
        "train_images": len(train.manifest),
        "train_broken": len(train.manifest.broken),
        "train_sha256": train.manifest.fingerprint(),
        "val_images": len(val.manifest),
        "val_broken": len(val.manifest.broken),
        "val_sha256": val.manifest.fingerprint(),
        "commit": commit(),
    }


def protocol(recipe: Recipe) -> str:
    """How the accuracy is measured, in words."""
    weights = "averaged (EMA)" if recipe.ema.decay else "raw"
    return f"{own_protocol(recipe).words}, {weights} weights, {recipe.precision}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
