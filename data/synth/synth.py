"""Writes a procedural image tree: ROOT/train/<class>/*.JPEG, ROOT/val/<class>/*.JPEG and ROOT/synth.json.

Each image follows from the options and its own number alone, so neither the workers nor their number nor an
interruption changes a byte. synth.json is written first, with the options, and again last, marked complete.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data.durable import replace
from data.output_folder import alone, refuse
from data.synth.config import Synth
from data.synth.layout import LOCK, Layout, Place, Tally
from data.types import Progress, unwatched
from data.workers import bad_workers, each

CHUNK = 16  # images a worker draws at a time: a third of a second at full scale, so that Ctrl-C is soon obeyed


class Chunk(NamedTuple):
    """Some images of one class of one split."""

    place: Place
    indices: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """A complete tree."""

    images: int
    """Image files, train and val."""
    bytes: int
    """Their sizes added up."""
    drawn: int
    """Images drawn by this call: 0 where the tree was complete before."""


def write(root: Path, options: Synth, *, workers: int, progress: Progress = unwatched) -> Written:
    """Write the tree, or what is missing of it; a complete one is left as it is.

    More than one worker are processes that are spawned: a script that asks for them calls this under
    `if __name__ == "__main__":`.

    Args:
        root: Folder of the tree: absent (its parents too), empty, or begun with the same options.
        options: What is written.
        workers: Processes that draw, 1 to 256; 1 draws in this one.
        progress: Is given the number of images done, and of all, now and then.

    Raises:
        RefusedError: A value is out of range, or the folder holds something else. Nothing was written.
        OSError: A file cannot be written. Once it can, the same call goes on from there.
        BrokenExecutor: A worker was killed. The same call goes on from there.
    """
    refuse(bad_workers(workers))
    layout = Layout(root, options)
    if whole := layout.finished():
        return Written(images=whole.images, bytes=whole.bytes, drawn=0)
    kept, missing = layout.survey()

    def report(done: int) -> None:
        progress(kept.images + done, layout.images)

    root.mkdir(parents=True, exist_ok=True)
    with alone(root / LOCK):
        layout.write_record(complete=False)
        drawn = _draw(layout, missing, workers, report)
        layout.write_record(complete=True, images=layout.images, bytes=kept.bytes + drawn.bytes)
    return Written(images=layout.images, bytes=kept.bytes + drawn.bytes, drawn=drawn.images)


def _draw(layout: Layout, missing: dict[Place, list[int]], workers: int, report: Callable[[int], None]) -> Tally:
    images = size = 0
    report(images)
    for place in missing:
        layout.folder(place).mkdir(parents=True, exist_ok=True)
    with closing(each(partial(_draw_chunk, layout), _chunks(missing), workers)) as tallies:
        for tally in tallies:
            images, size = images + tally.images, size + tally.bytes
            report(images)
    return Tally(images, size)


def _chunks(missing: dict[Place, list[int]]) -> list[Chunk]:
    return [
        Chunk(place, indices[start : start + CHUNK])
        for place, indices in missing.items()
        for start in range(0, len(indices), CHUNK)
    ]


def _draw_chunk(layout: Layout, chunk: Chunk) -> Tally:
    from data.synth import drawing
    from data.synth.shapes import CLASSES

    size = 0
    split, label = chunk.place
    for index in chunk.indices:
        rng = drawing.generator(layout.options.seed, split, label, index)
        image = drawing.jpeg(rng, layout.options.scale, *CLASSES[label])
        replace(layout.file(chunk.place, index), image)
        size += len(image)
    return Tally(len(chunk.indices), size)
