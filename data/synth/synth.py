"""Writes a procedural image tree: ROOT/train/<class>/*.JPEG, ROOT/val/<class>/*.JPEG and ROOT/synth.json.

Each image depends on the options and its own number only: neither the number of workers nor an interruption changes a
byte. synth.json is written first, with the options, and once more at the end, marked complete.
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
from data.synth.layout import LOCK, Layout, Part, Tally
from data.types import Progress, unwatched
from data.workers import bad_workers, each

CHUNK = 16  # images a worker draws at a time: a third of a second at full scale, so that Ctrl-C acts soon


class Chunk(NamedTuple):
    """Some images of one class of one split."""

    part: Part
    indices: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """A complete tree, train and val."""

    images: int
    bytes: int
    """Of all images."""
    drawn: int
    """Images drawn by this call."""


def write(root: Path, options: Synth, *, workers: int, progress: Progress = unwatched) -> Written:
    """Write the tree, or the images that are missing in it; a complete one is not changed.

    Workers are spawned processes: a script that uses several calls this under `if __name__ == "__main__":`.

    Args:
        root: Folder of the tree: absent (its parents too), empty, or begun with the same options.
        options: What is drawn; their ranges are not checked.
        workers: Processes that draw, 1 to 256; 1 draws in this process.
        progress: Counts the images.

    Raises:
        RefusedError: There cannot be so many workers, or the folder holds something else. Nothing was written.
        OSError: A file cannot be written. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
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


def _draw(layout: Layout, missing: dict[Part, list[int]], workers: int, report: Callable[[int], None]) -> Tally:
    images = size = 0
    report(images)
    for part in missing:
        layout.folder(part).mkdir(parents=True, exist_ok=True)
    with closing(each(partial(_draw_chunk, layout), _chunks(missing), workers)) as tallies:
        for tally in tallies:
            images, size = images + tally.images, size + tally.bytes
            report(images)
    return Tally(images, size)


def _chunks(missing: dict[Part, list[int]]) -> list[Chunk]:
    return [
        Chunk(part, indices[start : start + CHUNK])
        for part, indices in missing.items()
        for start in range(0, len(indices), CHUNK)
    ]


def _draw_chunk(layout: Layout, chunk: Chunk) -> Tally:
    from data.synth import drawing
    from data.synth.shapes import CLASSES

    size = 0
    split, label = chunk.part
    for index in chunk.indices:
        rng = drawing.generator(layout.options.seed, split, label, index)
        image = drawing.jpeg(rng, layout.options.scale, *CLASSES[label])
        replace(layout.file(chunk.part, index), image)
        size += len(image)
    return Tally(len(chunk.indices), size)
