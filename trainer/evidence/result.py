"""A finished run's result: its accuracy, by its own protocol and by that of the figure that its recipe aims at."""

import copy
import platform
import shlex
import socket
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from data.catalog import known
from data.catalog.manifest import Manifest
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from trainer import variables
from trainer.commit import commit
from trainer.context import RunContext
from trainer.engine.state import TrainState, headline
from trainer.evaluation import labels, outcome
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.labels import UnknownLabelsError
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.protocol import Protocol, parse
from trainer.evaluation.request import Request, own_protocol
from trainer.evaluation.trained_network import UnusableWeightsError, subject
from trainer.evidence.run_record import follows
from trainer.evidence.targets import TARGETS, Target
from trainer.recipe.config import Recipe
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RESULT_SCHEMA
from trainer.runtime import Runtime
from trainer.sources import Source
from trainer.stopping import StopRequestedError

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "numpy")
VIEWS = 64  # squares per process and pass: the run's weights and optimizer are in memory too


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
        "packages": {name: installed for name in PACKAGES if (installed := _version(name))},
        "commit": commit(),
        **({"gpu_faults": runtime.gpu_faults} if runtime.gpu_faults else {}),
        **({"variables": set_here} if (set_here := variables.of_numbers()) else {}),
    }


def other_threads(records: Iterable[dict[str, Any]], now: dict[str, Any]) -> str | None:
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
    weights = "averaged (EMA)" if recipe.ema.decay else "raw"
    raw = {"raw_weights": state.scores["raw"]} if "ema" in state.scores else {}
    return {
        "schema": RESULT_SCHEMA,
        **headline(state),
        **raw,
        "train_replaced": state.broken,
        "best_top1": state.best_top1,
        "protocol": f"{own_protocol(recipe).words}, {weights} weights, {recipe.precision}",
        "protocol_name": own_protocol(recipe).name,
        "data_set": known.recognise(train.manifest, val.manifest),
        "model": recipe.model.name,
        "epochs": recipe.epochs,
        "images_seen": train.images_seen(state.step),
        "seed": recipe.seed,
        "recipe_sha256": recipe_hash(recipe),
        **({"init_weights": recipe.init.weights, "init_sha256": recipe.init.sha256} if recipe.init.weights else {}),
        "train_images": len(train.manifest),
        "train_broken": len(train.manifest.broken),
        "train_sha256": train.manifest.fingerprint(),
        "val_images": len(val.manifest),
        "val_broken": len(val.manifest.broken),
        "val_sha256": val.manifest.fingerprint(),
        "commit": commit(),
    }


def aimed_protocol(
    recipe: Recipe,
    images: tuple[Manifest, Manifest],
    targets: Mapping[str, tuple[Target, ...]] = TARGETS,
    *,
    smoke: bool = False,
) -> Protocol | None:
    """How the published figure was measured, where that is otherwise than the run measures and can be compared.

    Args:
        recipe: The run's.
        images: Its manifests of train and val.
        targets: Published figures by recipe.
        smoke: Whether the run only tries each of its phases, this one too, on whatever images.
    """
    named = follows(recipe)
    aim = next(iter(targets.get(named.name, ())), None) if named else None
    if not aim or not (smoke or known.recognise(*images) == aim.data):
        return None
    wanted = parse(aim.protocol)
    return None if wanted == own_protocol(recipe) else wanted


def measure_as_aimed(context: RunContext, state: TrainState, images: tuple[Manifest, Manifest]) -> bool:
    """Measure a finished run as its recipe's aim was measured; False where it was stopped in that (collective)."""
    wanted = aimed_protocol(context.recipe, images, smoke=context.site.smoke)
    if wanted is None:
        return True
    try:
        measure_by(context, state, images, wanted)
    except StopRequestedError:
        return False
    except (UnusableWeightsError, UnknownLabelsError) as error:  # which all processes meet, and every start would
        places = (str(context.run.path), "--data", str(context.site.data))
        again = shlex.join(("provenet", "evaluate", *places, "--protocol", wanted.name))
        context.console.say(f"not measured by {wanted.name}: {error}\n  try {again}")
    return True


def measure_by(context: RunContext, state: TrainState, images: tuple[Manifest, Manifest], wanted: Protocol) -> None:
    """Measure the result's weights under another protocol, and write the figures to the run directory (collective).

    Raises:
        StopRequestedError: A process was asked to stop; the next start evaluates again.
        TooManyBrokenError: Too many images broke since they were listed.
    """
    recipe, runtime, run, (train, val) = context.recipe, context.runtime, context.run, images
    averaged = state.ema.network if state.ema else None
    network = copy.deepcopy(averaged or state.model)  # the protocol may change its form
    source = Source(
        text=str(run.path), kind="weights", file=run.weights, recipe=recipe, which="ema" if averaged else "raw", run=run
    )
    measured = subject(source, network, recipe.model, train)
    truth = labels.of(val, SPLIT, measured.num_classes, measured.classes)
    request = Request(
        batch=max(1, VIEWS // wanted.views), loader=context.site.loader, max_broken=context.site.max_broken
    )
    task = Task(
        request=request,
        subject=measured,
        protocol=wanted,
        images=val,
        truth=truth,
        should_stop=context.should_stop,
    )
    answers = measure(task, runtime)
    if runtime.is_main:
        outcome.write(answers, truth, outcome.free(request.folder(source, SPLIT, wanted), answers))
        context.console.say("\n".join(outcome.lines(answers, truth)))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
