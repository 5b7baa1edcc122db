"""Predicts the classes of images without labels: one process, from weights to a table."""

import json
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog.listing import Listing
from data.catalog.manifest import Manifest
from data.names import cell
from data.types import BrokenImage
from data.verify import verify
from trainer import streams
from trainer.engine.run_images import UnusableDataError, scanned
from trainer.evaluation import labels, measure, outcome
from trainer.evaluation.measure import Task
from trainer.evaluation.predictions import INDEX, VALID, csv_text, write_csv
from trainer.evaluation.protocol import parse
from trainer.evaluation.request import Answer, Prediction, Request
from trainer.evaluation.session import precision, refusing
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

KEYS = ("class", "index", "probability")


@refusing()
def answers(
    request: Request, source: Source, listing: Listing, topk: int, world: World
) -> tuple[list[Prediction], list[BrokenImage], dict[str, Any]]:
    """Run the network on each image once, and name on stderr what is broken (collective).

    Returns:
        The answers to all images, the images that were left out, and what is known of network and protocol.

    Raises:
        Exception: What `trainer.failures` knows.
    """
    subject = load_subject(source)
    classes = labels.named(request.classes, subject.num_classes) if request.classes else subject.classes
    runtime = Runtime(world, precision(request, [subject], world), request.threads)
    images: Manifest = runtime.share(on_main(runtime, lambda: _read(listing, request), UnusableDataError, OSError))
    task = Task(
        # the same batches on any number of processes, and so the same bits
        request=replace(request, batch=min(request.batch, len(images))),
        subject=subject,
        protocol=parse(request.protocol) if request.protocol else subject.protocol,
        images=images,
        truth=None,
        should_stop=lambda: runtime.any(False),  # a process that has failed is noticed at the next batch
        answers=topk,
    )
    table, _ = measure.rows(task, runtime)
    runtime.close()
    known = dict(enumerate(classes or ()))
    rows, broken = _rows(images, table, [outcome.named(number, known) for number in range(subject.num_classes)])
    if lines := _remarks(broken, len(rows), named=bool(classes)) if runtime.is_main else []:
        note("\n".join(lines))
    about = description(subject) | {"protocol": task.protocol.name, "protocol_words": task.protocol.words}
    return rows, broken, about


def _remarks(broken: list[BrokenImage], whole: int, *, named: bool) -> list[str]:
    lines = [] if named else ["the weights name no classes: numbers stand in for names; --classes names them"]
    if broken:
        lines.append(f"{len(broken):,} of {whole + len(broken):,} images are broken and left out:")
        lines += [*(f"  {image}" for image in broken[:SHOWN]), *["  ..."][: len(broken) // (SHOWN + 1)]]
    return lines


def predict(request: Request, source: Source, listing: Listing, topk: int, world: World) -> int:
    """Write the `answers` (collective); returns the exit code."""
    rows, broken, about = answers(request, source, listing, topk, world)
    if world.is_main:
        _write(request.output, rows, broken, about)
        if request.output:
            note(f"{request.output}: answers to {len(rows):,} images")
    return FAILED if broken or any(text.startswith("stdout") for text in streams.lost()) else 0


def _read(listing: Listing, request: Request) -> Manifest:
    """The images with the sizes that their headers say.

    Raises:
        UnusableDataError: None can be read, or too many cannot, or a process that reads was killed.
        OSError: An archive is gone.
    """
    if listing.notes:
        note("\n".join(listing.notes))
    try:
        with counting("reading the headers of the images", "images") as show:
            images = scanned(listing, None, show, whole=False)
    except BrokenExecutor as error:
        raise UnusableDataError(f"IMAGES: {error}") from None
    if problem := verify.problem(images, request.max_broken):
        raise UnusableDataError(f"IMAGES: {problem}")
    if not len(images):
        raise UnusableDataError(f"IMAGES: none of {len(images.broken):,} can be read, the first: {images.broken[0]}")
    return images


def _rows(
    images: Manifest, table: NDArray[np.float64], classes: list[str]
) -> tuple[list[Prediction], list[BrokenImage]]:
    """The answers to the images in their order, and the images that were left out."""

    def name(row: int) -> str:
        return f"{images.archives[images.archive[row]]}: {images.name(row)}" if images.archives else images.name(row)

    table = table[table[:, VALID] > 0]
    table = table[np.argsort(table[:, INDEX])]
    indices, (probabilities, numbers) = table[:, INDEX].astype(np.int64), np.split(table[:, VALID + 1 :], 2, axis=1)
    rows = [
        Prediction(name(row), tuple(Answer(classes[i], i, float(f"{p:.6g}")) for i, p in zip(*both, strict=True)))
        for row, *both in zip(indices.tolist(), numbers.astype(int).tolist(), probabilities.tolist(), strict=True)
    ]
    lost = np.setdiff1d(np.arange(len(images)), indices).tolist()  # the loader has printed why
    return rows, [*images.broken, *(BrokenImage(name(row), "damaged behind its header") for row in lost)]


def _write(file: Path | None, rows: list[Prediction], broken: list[BrokenImage], about: dict[str, Any]) -> None:
    """Write a file, whole or not at all, or CSV to stdout."""
    if file and file.suffix == ".json":
        images = [
            {"image": name, "answers": [dict(zip(KEYS, astuple(one), strict=True)) for one in row]}
            for name, row in rows
        ]
        content = {"schema": SCHEMA, **about, "images": images, "broken": [asdict(image) for image in broken]}
        write_text(file, json.dumps(content) + "\n")
        return
    ranks = range(1, 1 + max((len(answers) for _, answers in rows), default=0))
    head = ["image", *(f"{key}_{rank}" for rank in ranks for key in KEYS)]
    cells = (
        [cell(name), *(part for kind, *rest in map(astuple, row) for part in (cell(kind), *rest))] for name, row in rows
    )
    if file:
        write_csv(file, [head, *cells])
    else:
        write(csv_text([head, *cells], "\n"))
