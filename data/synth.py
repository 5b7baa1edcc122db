"""Writes a procedural image tree: ROOT/train/<class>/*.JPEG, ROOT/val/<class>/*.JPEG and ROOT/synth.json.

Each image follows from the options and its own number alone, so neither the workers nor their number nor an
interruption changes a byte. synth.json is written first, with the options, and again last, marked complete.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data.config import Synth
from data.layout import LOCK, Layout, Place, RefusedError, Tally, replace
from data.workers import each

WORKERS = {"min": 1, "max": 256}
CHUNK = 16  # images a worker draws at a time: a third of a second at full scale, so that Ctrl-C is soon obeyed

Progress = Callable[[int, int], None]


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


def write(root: Path, options: Synth, *, workers: int, progress: Progress | None = None) -> Written:
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
    check_ranges(options, workers)
    layout = Layout(root, options)
    if whole := layout.finished():
        return Written(images=whole.images, bytes=whole.bytes, drawn=0)
    kept, missing = layout.survey()

    def report(done: int) -> None:
        if progress:
            progress(kept.images + done, layout.images)

    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        layout.write_record(complete=False)
        drawn = _draw(layout, missing, workers, report)
        layout.write_record(complete=True, images=layout.images, bytes=kept.bytes + drawn.bytes)
    return Written(images=layout.images, bytes=kept.bytes + drawn.bytes, drawn=drawn.images)


def check_ranges(options: Synth, workers: int) -> None:
    """Name every option that is out of range.

    Raises:
        RefusedError: One line for each.
    """
    limits = {option.name: option.metadata for option in fields(options)} | {"workers": WORKERS}
    values = asdict(options) | {"workers": workers}
    problems = [
        f"--{name.replace('_', '-')}: {values[name]}; must be at least {limit['min']} and at most {limit['max']}"
        for name, limit in limits.items()
        if limit and not limit["min"] <= values[name] <= limit["max"]
    ]
    if problems:
        raise RefusedError("\n".join(problems))


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
    from data import drawing
    from data.shapes import CLASSES

    size = 0
    split, label = chunk.place
    for index in chunk.indices:
        rng = drawing.generator(layout.options.seed, split, label, index)
        image = drawing.jpeg(rng, layout.options.scale, *CLASSES[label])
        replace(layout.file(chunk.place, index), image)
        size += len(image)
    return Tally(len(chunk.indices), size)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder's lock, which a killed process gives back.

    Raises:
        RefusedError: Another process writes here.
    """
    with (root / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"{root}: another process is writing this data set; let it finish") from None
        except OSError:
            pass  # no locks on this file system: two writers at once would draw the same bytes, or one would fail
        try:
            yield
        finally:
            (root / LOCK).unlink()
