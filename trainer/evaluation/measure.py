"""From a network and a list of images to figures."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from data.catalog.manifest import Manifest
from data.load import backends
from data.types import Backend, Progress, unwatched
from trainer.commit import commit
from trainer.engine.step import Normalize
from trainer.evaluation import outcome, passes
from trainer.evaluation.labels import Labels
from trainer.evaluation.predictions import VALID, Predictions
from trainer.evaluation.protocol import Protocol
from trainer.evaluation.trained_network import Subject, UnusableWeightsError, description
from trainer.recipe.config import Precision
from trainer.runtime import Runtime
from trainer.terminal import counting


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One network, one protocol, one set of images."""

    subject: Subject
    protocol: Protocol
    images: Manifest
    truth: Labels
    labels: str | None
    """Where the labels come from; None: the class folders."""
    precision: Precision
    """That the runtime computes in."""
    batch: int
    """Images per process and pass."""
    loader: Backend | None
    max_broken: float
    """Share of the images that may turn out to be broken, 0 to 1."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each batch, agreed by all processes."""


def measure(task: Task, runtime: Runtime) -> Predictions:
    """Let the network see every image once (collective); all processes get the answers to all images.

    Raises:
        UnusableWeightsError: The network cannot take the form that the protocol asks for, or gives no numbers.
        UnusableBackendError: The loader asked for cannot do its work here.
        TooManyBrokenError: Too many images broke since they were listed.
        StopRequestedError: Asked to stop.
    """
    whole = task.protocol.kind == "multi-scale"  # which threads alone can read
    chosen = backends.choose(None if whole else task.loader, task.images, runtime.device, runtime.threads)
    backend = "threads" if whole else backends.evaluating(chosen.backend)
    supply = passes.Supply(images=task.images, backend=backend, batch=task.batch, max_broken=task.max_broken)
    work = _pass(task, runtime)
    with _progress(f"{task.subject.source.text}, {task.protocol.name}", runtime) as advance:
        rows = passes.rows(work, supply, advance).numpy()
    if not np.isfinite(rows).all():
        raise UnusableWeightsError(f"{task.subject.source.text}: its answers are no numbers; try --precision fp32")
    found = outcome.predictions(rows, task.images, task.truth)
    found.about.update(
        {
            **description(task.subject),
            **_protocol(task),
            **outcome.figures(found),
            "broken": len(task.images.broken) + len(task.images) - int(rows[:, VALID].sum()),
            "unlabelled": int((~task.truth.judged()).sum()),
            **_circumstances(runtime, backend, task.batch),
        }
    )
    return found


def _protocol(task: Task) -> dict[str, Any]:
    return {
        "protocol": task.protocol.name,
        "protocol_words": task.protocol.words,
        "precision": task.precision,
        "label_set": task.truth.name,
        "label_words": task.truth.words,
        "labels": task.labels,
        "classes": len(task.truth.columns),
        "num_classes": task.truth.num_classes,
        "data": str(task.images.root),
        "val_sha256": task.images.fingerprint(),
    }


def _circumstances(runtime: Runtime, backend: str, batch: int) -> dict[str, Any]:
    on_gpu = runtime.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(runtime.device) if on_gpu else "CPU",
        "world_size": runtime.world.world_size,
        "batch": batch,
        "loader": backend,
        "host": socket.gethostname(),
        "commit": commit(),
        "time": round(time.time(), 3),
    }


def _pass(task: Task, runtime: Runtime) -> passes.Pass:
    subject, truth = task.subject, task.truth
    try:
        network = passes.prepared(subject.network, task.protocol, subject.input.eval_crop)
    except ValueError as error:
        raise UnusableWeightsError(f"--protocol {task.protocol.name}: {subject.source.text}: {error}") from None
    columns = torch.from_numpy(truth.columns)
    place_of = torch.full((truth.num_classes,), 0).scatter(0, columns, torch.arange(len(columns)))
    return passes.Pass(
        runtime=runtime,
        network=runtime.place(network, channels_last=True).eval(),
        normalize=Normalize(subject.input, runtime.device, channels_last=True),
        protocol=task.protocol,
        should_stop=task.should_stop,
        columns=columns.to(runtime.device),
        targets=place_of[torch.from_numpy(truth.targets)].to(runtime.device),
    )


@contextmanager
def _progress(what: str, runtime: Runtime) -> Iterator[Progress]:
    if not runtime.is_main:
        yield unwatched
        return
    with counting(what, "images") as show:
        yield show
