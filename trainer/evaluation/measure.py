"""Measures the accuracy of one network on one list of images."""

import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.catalog.manifest import Manifest
from data.load import backends
from data.types import Backend, unwatched
from trainer import gpu
from trainer.commit import commit
from trainer.engine.memory import MemoryShortError, is_short
from trainer.engine.step import Normalize
from trainer.evaluation import outcome, passes
from trainer.evaluation.labels import Labels
from trainer.evaluation.predictions import ANSWERS, VALID, Predictions
from trainer.evaluation.protocol import Protocol
from trainer.evaluation.request import Request
from trainer.evaluation.trained_network import Subject, UnusableWeightsError, description
from trainer.runtime import Runtime
from trainer.terminal import counting


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One network, one protocol, one set of images."""

    request: Request
    subject: Subject
    protocol: Protocol
    images: Manifest
    truth: Labels | None
    """None: no labels are known, and the answers come with their probabilities."""
    should_stop: Callable[[], bool]
    """Asked after each batch, agreed by all processes."""
    answers: int = ANSWERS
    """Answers to each image."""


def measure(task: Task, runtime: Runtime) -> Predictions:
    """Evaluate the network on every image once, as `rows` does (collective); returns all answers in every process."""
    truth = task.truth
    assert truth
    table, backend = rows(task, runtime)
    answers = outcome.predictions(table, task.images, truth)
    answers.about.update(
        {
            **description(task.subject),
            **_protocol(task, truth),
            **outcome.figures(answers),
            "broken": len(task.images.broken) + len(task.images) - int(table[:, VALID].sum()),
            "unlabelled": int((~truth.judged()).sum()),
            "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else "CPU",
            "world_size": runtime.world.world_size,
            "batch": task.request.batch,
            "loader": backend,
            "host": socket.gethostname(),
            "commit": commit(),
            "time": round(time.time(), 3),
        }
    )
    return answers


def rows(task: Task, runtime: Runtime) -> tuple[NDArray[np.float64], Backend]:
    """What `passes.rows` returns for the task, and the loader (collective).

    Raises:
        UnusableWeightsError: The network cannot take the form that the protocol asks for, or gives no numbers.
        UnusableBackendError: The loader asked for cannot do its work here.
        TooManyBrokenError: Too many images broke since they were listed.
        StopRequestedError: Asked to stop.
        MemoryShortError: A batch does not fit into memory.
    """
    backend = _backend(task, runtime)
    title = f"{task.subject.source.text}, {task.protocol.name}"
    try:
        work = _pass(task, runtime, backend)
        with counting(title, "images") if runtime.is_main else nullcontext(unwatched) as advance:
            table = passes.rows(work, advance).numpy()
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        raise MemoryShortError(f"out of memory: lower --batch, which is {task.request.batch}") from error
    if not np.isfinite(table).all():
        raise UnusableWeightsError(f"{task.subject.source.text}: its answers are no numbers; try --precision fp32")
    return table, backend


def _backend(task: Task, runtime: Runtime) -> Backend:
    if task.protocol.kind == "multi-scale":
        return "threads"  # the only backend that reads whole images
    chosen = backends.choose(task.request.loader, task.images, runtime.device, runtime.threads)
    return backends.evaluating(chosen.backend)


def _protocol(task: Task, truth: Labels) -> dict[str, Any]:
    return {
        "protocol": task.protocol.name,
        "protocol_words": task.protocol.words,
        "precision": task.request.precision or task.subject.precision,
        "label_set": truth.name,
        "label_words": truth.words,
        "labels": task.request.labels,
        "class_order": truth.assumption,
        "classes": len(truth.columns),
        "num_classes": truth.num_classes,
        "data": str(task.images.root),
        "val_sha256": task.images.fingerprint(),
    }


def _pass(task: Task, runtime: Runtime, backend: Backend) -> passes.Pass:
    subject, truth = task.subject, task.truth
    try:
        network = passes.prepared(subject.network, task.protocol, subject.input.eval_crop)
    except ValueError as error:
        raise UnusableWeightsError(f"--protocol {task.protocol.name}: {subject.source.text}: {error}") from None
    columns, targets = torch.arange(subject.num_classes), None
    if truth:
        columns = torch.from_numpy(truth.columns)
        column_of = torch.full((truth.num_classes,), 0).scatter(0, columns, torch.arange(len(columns)))
        targets = column_of[torch.from_numpy(truth.targets)].to(runtime.device)
    return passes.Pass(
        runtime=runtime,
        network=gpu.place(network, runtime.device, channels_last=True).eval(),
        normalize=Normalize(subject.input, runtime.device, channels_last=True),
        protocol=task.protocol,
        images=task.images,
        backend=backend,
        batch=task.request.batch,
        max_broken=task.request.max_broken,
        columns=columns.to(runtime.device),
        targets=targets,
        answers=task.answers,
        should_stop=task.should_stop,
    )
