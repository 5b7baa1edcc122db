"""Speed as ratios: all loaders in turns, each in a process of its own, on one machine in one run."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from data.catalog import dataset
from data.catalog.listing import Listing, manifest_file
from data.types import Progress
from data.verify import verify
from data.workers import cores
from tests.benchmarks.contestant import FailedError
from tests.benchmarks.loader_contestant import LoaderContestant, NotInstalledError, Turn
from tests.benchmarks.loaders_config import FLOOR, OURS, REFERENCE, WHAT, BenchConfig, BenchTask, Contender

WARM_UP_S = 1.0
CACHED = 2 << 30  # bytes read before anything is timed
CHUNK = 16 << 20

Opened = LoaderContestant | NotInstalledError | FailedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Medians over the rounds."""

    images_per_s: float
    """Wall clock: depends on what else the machine does."""
    cpu_ms: float
    """User and system time per image, of all its processes."""
    ratio: float | None
    """CPU time of torchvision's reference loader divided by this one's, within a round; above 1 is faster."""
    spread: tuple[float, float] | None
    """The middle half of those ratios."""
    of_floor: float | None
    """CPU time of the floor divided by this one's, within a round: 1 is all that is possible."""
    first_batch_s: float
    """From the start of the process; the files are in the system's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One contender."""

    name: str
    what: str
    figures: Figures | None
    """None: it could not be measured."""
    facts: dict[str, Any]
    """What one image of its batches is, and what it says of itself."""
    problem: str = ""
    """Why it could not be measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """A data set."""

    root: Path
    manifests: Path
    """Folder with the manifest of the split that is timed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a table to be."""

    name: str
    task: BenchTask


def place(root: Path, split: str, manifests: Path, progress: Progress) -> Place:
    """Make the manifest of a split, and bring its files into the system's cache for whoever reads them first.

    A manifest that lies beside the data saves decoding all images.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The data set cannot be listed; the message says why.
    """
    manifests.mkdir()
    known = dataset.find(root).manifest(root, split) if manifest_file(root, split).exists() else None
    listing = dataset.find(root).listing(split)
    found = verify.scan(listing, known=known, workers=cores(), progress=progress).manifest
    found.save(manifest_file(manifests, split))
    _cache(listing)
    return Place(root.resolve(), manifests)


def entries(place: Place, config: BenchConfig) -> list[Entry]:
    """The contenders that were asked for."""
    return [Entry(name, task(name, place, config)) for name in WHAT if name in config.contenders]


def from_shards(shards: Place, config: BenchConfig) -> list[Entry]:
    """This package's loaders, of those that were asked for, on a second data set."""
    return [Entry(f"{name}, shards", task(name, shards, config)) for name in OURS if name in config.contenders]


def scaling(place: Place, config: BenchConfig) -> list[Entry]:
    """Plain threads with 1, 2, 4, ... of them, up to `threads`."""
    most = config.threads or cores()
    counts = [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
    return [Entry(f"{count}", task("threads", place, config, count)) for count in counts]


def task(contender: Contender, place: Place, config: BenchConfig, threads: int | None = None) -> BenchTask:
    """What one contender is to do."""
    return BenchTask(
        contender=contender,
        root=place.root,
        manifests=place.manifests,
        split=config.split,
        batch=config.batch,
        threads=threads or config.threads or cores(),
        size=config.image_size,
    )


def measure(lines: Sequence[Entry], config: BenchConfig, progress: Progress) -> list[Row]:
    """Start them one after the other, then give each a turn, round by round; sorted by CPU time, the least first."""
    total = len(lines) * (config.rounds + 1)
    with ExitStack() as running:
        opened = dict[str, Opened]()
        turns: dict[str, list[Turn]] = {line.name: [] for line in lines}
        for done, line in enumerate(lines):
            opened[line.name] = _open(line, running)
            progress(done + 1, total)
        for number in range(config.rounds):
            for done, line in enumerate(lines, (number + 1) * len(lines) + 1):
                _take_turn(opened, line.name, turns[line.name], config.seconds)
                progress(done, total)
    rows = [_row(line, opened[line.name], turns) for line in lines]
    return sorted(rows, key=lambda row: row.figures.cpu_ms if row.figures else float("inf"))


def figures(own: list[Turn], reference: list[Turn], floor: list[Turn], first_batch_s: float) -> Figures:
    """Medians over the rounds of a contender's turns; no ratio to what was not measured in each of them."""
    ratios, floors = _ratios(reference, own), _ratios(floor, own)
    return Figures(
        images_per_s=median(turn.images / turn.wall_s for turn in own),
        cpu_ms=1e3 * median(_cost(turn) for turn in own),
        ratio=median(ratios) if ratios else None,
        spread=(ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]) if ratios else None,
        of_floor=median(floors) if floors else None,
        first_batch_s=first_batch_s,
    )


def _open(line: Entry, running: ExitStack) -> Opened:
    try:
        contestant = LoaderContestant(line.task)
        running.callback(contestant.close)
        contestant.turn(WARM_UP_S)
    except (NotInstalledError, FailedError) as error:
        return error
    return contestant


def _take_turn(opened: dict[str, Opened], name: str, turns: list[Turn], seconds: float) -> None:
    contestant = opened[name]
    if isinstance(contestant, LoaderContestant):
        try:
            turns.append(contestant.turn(seconds))
        except FailedError as error:
            opened[name] = error


def _row(line: Entry, opened: Opened, turns: dict[str, list[Turn]]) -> Row:
    what = WHAT[line.task.contender]
    if not isinstance(opened, LoaderContestant):
        verdict = "not installed" if isinstance(opened, NotInstalledError) else "failed"
        return Row(name=line.name, what=what, figures=None, facts={}, problem=f"{verdict}: {opened}")
    reference, floor = turns.get(REFERENCE, []), turns.get(FLOOR, [])
    found = figures(turns[line.name], reference, floor, opened.first_batch_s)
    return Row(name=line.name, what=what, figures=found, facts=opened.facts)


def _cost(turn: Turn) -> float:
    return turn.cpu_s / turn.images


def _ratios(base: list[Turn], own: list[Turn]) -> list[float]:
    """Rising; empty where the base was not measured in every round."""
    if len(base) != len(own):
        return []
    return sorted(_cost(other) / _cost(turn) for other, turn in zip(base, own, strict=True))


def _cache(listing: Listing) -> None:
    """Read a small set whole, a large one's first files."""
    read = 0
    for file in dict.fromkeys(map(listing.path, listing.entries)):
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                read += len(chunk)
        if read > CACHED:
            return
