"""Predicts the classes of images without labels: one process, from weights to a table."""

import json
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog.listing import Listing
from data.catalog.manifest import Manifest
from data.names import cell
from data.types import BrokenImage
from data.verify import verify
from data.workers import cores
from trainer import streams
from trainer.engine.run_images import UnusableDataError
from trainer.evaluation import labels, measure, outcome
from trainer.evaluation.measure import Task
from trainer.evaluation.predictions import INDEX, VALID, csv_text
from trainer.evaluation.protocol import parse
from trainer.evaluation.request import Settings
from trainer.evaluation.session import precision
from trainer.evaluation.trained_network import description, load_subject
from trainer.exits import FAILED, note
from trainer.peers import on_main
from trainer.rundir import write_text
from trainer.runtime import Runtime
from trainer.sources import Source
from trainer.terminal import counting, write
from trainer.world import World

SCHEMA = 1
SHOWN = 20  # broken images that are named at the end
_PER_WORKER = 5_000  # headers that are read in the time in which a worker process starts

Answer = tuple[str, int, float]
"""Name of the class, its number, and its probability."""


def predict(
    request: Settings, source: Source, listing: Listing, answers: int, output: Path | None, world: World
) -> int:
    """Run the network on each image once, and write the most probable classes (collective).

    Returns:
        The exit code: `FAILED` where an image is broken, or the answers could not be printed.

    Raises:
        Exception: One of `session.REFUSED`, or what `trainer.commands.failures` knows.
    """
    subject = load_subject(source)
    classes = labels.named(request.classes, subject.num_classes) if request.classes else subject.classes
    runtime = Runtime(world, precision(request, [subject], world), request.threads)
    images: Manifest = runtime.share(on_main(runtime, lambda: _read(listing), UnusableDataError, OSError))
    task = Task(
        # the same batches on any number of processes, and so the same bits
        request=replace(request, batch=min(request.batch, len(images))),
        subject=subject,
        protocol=parse(request.protocol) if request.protocol else subject.protocol,
        images=images,
        should_stop=lambda: runtime.any(False),  # a process that has failed is noticed at the next batch
        answers=answers,
    )
    rows, _ = measure.rows(task, runtime)
    rows = rows[rows[:, VALID] > 0]
    rows = rows[np.argsort(rows[:, INDEX])]
    broken = [*images.broken, *_broken(images, rows[:, INDEX])]
    if runtime.is_main:
        names = dict(enumerate(classes or ()))
        table = _table(images, rows, [outcome.named(number, names) for number in range(subject.num_classes)])
        about = {**description(subject), **measure.protocol_of(task)}
        _write(table, about, broken, output)
        _report(len(images) + len(images.broken), broken, named=bool(classes))
    runtime.close()
    return FAILED if broken or (not output and any(text.startswith("stdout") for text in streams.lost())) else 0


def _read(listing: Listing) -> Manifest:
    """The images with the sizes that their headers say.

    Raises:
        UnusableDataError: None can be read, or a process that reads was killed.
        OSError: An archive is gone.
    """
    workers = min(cores(), 1 + len(listing.entries) // _PER_WORKER)
    try:
        with counting("reading the headers of the images", "images") as show:
            images = verify.scan(listing, workers=workers, progress=show, whole=False).manifest
    except BrokenExecutor as error:
        raise UnusableDataError(f"IMAGES: {error}") from None
    if not len(images):
        raise UnusableDataError(f"IMAGES: none of {len(images.broken):,} can be read, the first: {images.broken[0]}")
    return images


def _name(images: Manifest, row: int) -> str:
    """The path as it was named; of an image in an archive, the archive's and then its own there."""
    return f"{images.archives[images.archive[row]]}: {images.name(row)}" if images.archives else images.name(row)


def _broken(images: Manifest, answered: NDArray[np.float64]) -> list[BrokenImage]:
    """Those whose header could be read, but no more; the loader has printed why."""
    missing = np.setdiff1d(np.arange(len(images)), answered.astype(np.int64)).tolist()
    return [BrokenImage(_name(images, row), "damaged behind its header") for row in missing]


def _table(images: Manifest, rows: NDArray[np.float64], classes: list[str]) -> dict[str, list[Answer]]:
    """The answers to each image, the most probable first, by its name."""
    indices = rows[:, INDEX].astype(np.int64).tolist()
    probabilities, numbers = np.split(rows[:, VALID + 1 :], 2, axis=1)
    return {
        _name(images, index): [
            (classes[number], number, float(f"{probability:.6g}")) for number, probability in zip(*both, strict=True)
        ]
        for index, *both in zip(indices, numbers.astype(np.int64).tolist(), probabilities.tolist(), strict=True)
    }


def _write(
    table: dict[str, list[Answer]], about: dict[str, Any], broken: list[BrokenImage], output: Path | None
) -> None:
    """Write a file, whole or not at all, or CSV to stdout."""
    if output and output.suffix == ".json":
        keys = ("class", "index", "probability")
        images = [
            {"image": name, "answers": [dict(zip(keys, one, strict=True)) for one in answers]}
            for name, answers in table.items()
        ]
        left = [{"image": image.name, "reason": image.reason} for image in broken]
        write_text(output, json.dumps({"schema": SCHEMA, **about, "images": images, "broken": left}) + "\n")
        return
    ranks = range(1, 1 + len(next(iter(table.values()), ())))
    head = ["image", *(f"{name}_{rank}" for rank in ranks for name in ("class", "index", "probability"))]
    rows = [
        [cell(name), *(cell(x) if isinstance(x, str) else x for a in answers for x in a)]
        for name, answers in table.items()
    ]
    if output:
        write_text(output, csv_text([head, *rows]))
    else:
        write(csv_text([head, *rows], "\n"))


def _report(count: int, broken: list[BrokenImage], *, named: bool) -> None:
    """Say to stderr what was left out."""
    if not named:
        note("the weights name no classes: their numbers stand in for names; --classes names them")
    if broken:
        more = [f"  and {len(broken) - SHOWN:,} more"] if len(broken) > SHOWN else []
        lines = [
            f"{len(broken):,} of {count:,} images are broken and left out:",
            *(f"  {one}" for one in broken[:SHOWN]),
        ]
        note("\n".join([*lines, *more]))
