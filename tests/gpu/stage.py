"""Where an acceptance run works: its folder and images, how much of everything it does, and what a section says."""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from data.catalog.manifest import COLUMNS, OF_THE_WHOLE, Manifest
from tests.benchmarks.contestant import last_words
from tests.benchmarks.image_tree import CLASSES
from trainer.rundir import RunDirectory

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was to be shown."""

    what: str
    figure: str
    goal: str = ""
    """What the figure should be; empty where it is only shown."""
    passed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much of everything is done."""

    network: str
    side: int
    """Of the images, pixels."""
    batch: int
    micro_batch: int
    """Part of the batch."""
    drawn: int
    """Training images of each class."""
    repeats: int
    """Times that each training image is listed for the runs that are timed."""
    rounds: int
    steps: int
    """Steps of a turn, where a loop is timed."""
    pulls: int
    """Batches that are pulled from each loader in a race."""
    learner: str
    """Network of the runs whose results are compared."""
    sides: tuple[int, int]
    """Image sizes of the compiled run, 32 pixels apart."""


FULL = Size(
    network="resnet50",
    side=224,
    batch=256,
    micro_batch=32,
    drawn=46,
    repeats=44,
    rounds=5,
    steps=20,
    pulls=300,
    learner="resnet18",
    sides=(96, 128),
)
SMALL = replace(
    FULL,
    network="resnet20",
    side=32,
    batch=16,
    micro_batch=8,
    drawn=8,
    repeats=2,
    rounds=1,
    steps=2,
    pulls=12,
    learner="resnet20",
    sides=(32, 64),
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was started."""

    process: "subprocess.Popen[str]"
    log: Path
    """What it says."""

    def end(self, *, code: int = 0) -> str:
        """Wait for its end; what it said.

        Raises:
            RuntimeError: It ended with another code.
        """
        found = self.process.wait()
        said = self.log.read_text()
        if found != code:
            sys.stderr.write(f"{self.process.args}\n{said[-3000:]}\n")
            raise RuntimeError(f"a program ended with {found}: {last_words(said, found)}")
        return said


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One acceptance run, as each of its sections sees it."""

    folder: Path
    rehearsal: bool
    """On the CPU, with small sizes: shows that the sections run, not that a GPU does."""

    @classmethod
    def decode(cls, text: str) -> "Stage":
        """Read what `encode` wrote."""
        fields = json.loads(text)
        return cls(folder=Path(fields["folder"]), rehearsal=fields["rehearsal"])

    def encode(self) -> str:
        """One argument of a command line."""
        return json.dumps({"folder": str(self.folder), "rehearsal": self.rehearsal})

    @property
    def size(self) -> Size:
        return SMALL if self.rehearsal else FULL

    @property
    def images(self) -> Path:
        """The image tree."""
        return self.folder / "images"

    @property
    def listed(self) -> Path:
        """Manifests of the tree."""
        return self.folder / "manifests"

    @property
    def repeated(self) -> Path:
        """Manifests that list each training image many times, so that an epoch is long enough to be timed."""
        return self.folder / "repeated"

    @property
    def backends(self) -> tuple[str, ...]:
        """The loaders to compare with `threads`."""
        return ("dali",) if self.rehearsal else ("dali", "dali_gpu")

    @property
    def environment(self) -> dict[str, str]:
        """Of every program that is started."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        hidden = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"} if self.rehearsal else {}
        return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | hidden

    def training(self, run: str, *flags: object, manifests: Path | None = None, network: str = "") -> list[str]:
        """Words of `train` for a run in the folder: an epoch of whole batches, a point of each step."""
        size = self.size
        words = {
            "--data": self.images,
            "--manifests": manifests or self.listed,
            "--output": self.folder / run,
            "--model.name": network or size.learner,
            "--model.num-classes": CLASSES,
            "--optimizer.lr": 0.01,
            "--schedule.warmup-epochs": 0,
            "--precision": "bf16",
            "--epochs": 1,
            "--global-batch": size.batch,
            "--micro-batch": size.batch,
            "--input.train-size": size.side,
            "--input.eval-resize": size.side * 8 // 7,
            "--input.eval-crop": size.side,
            "--log-every": 1,
        }
        words |= dict(zip(flags[::2], flags[1::2], strict=True))
        return ["train", "demo", *(part for name, value in words.items() for part in (str(name), *_split(value)))]

    def start(
        self, words: list[str], *, launcher: tuple[str, ...] = (), variables: Mapping[str, str] | None = None
    ) -> "Program":
        """`python -m trainer WORDS`, or below a launcher; its output goes to a file, so that it never waits for us."""
        command = [sys.executable, *(launcher or ("-m", "trainer")), *words]
        with (self.folder / f"{time.monotonic_ns()}.log").open("w+") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                env=self.environment | dict(variables or {}),
            )
        return Program(process, Path(output.name))

    def run(self, words: list[str], *, code: int = 0) -> str:
        """`python -m trainer WORDS` to its end; what it said."""
        return self.start(words).end(code=code)

    def remembered(self, name: str, measure: Callable[[], float]) -> float:
        """A figure that an earlier section has measured, or this one does."""
        file = self.folder / f"{name}.figure"
        if not file.exists():
            file.write_text(str(measure()))
        return float(file.read_text())


def guarded(what: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks of one part of a section, whose failure is one more check: the parts after it go on."""
    try:
        yield from checks
    except Exception as error:  # whatever a GPU brings up
        traceback.print_exc()
        words = (str(error).strip().splitlines() or [""])[-1]
        yield Check(what=what, figure=f"{type(error).__name__}: {words}", passed=False)


def pace(run: Path, warm_up: int) -> tuple[float, float]:
    """Images/s of a run and the share of time in which it waited for them, after so many points."""
    points = [point for point in RunDirectory(run).records() if point["kind"] == "train"][warm_up:]
    return median(point["images_per_s"] for point in points), fmean(point["data_wait"] for point in points)


def repeated(manifest: Manifest, times: int) -> Manifest:
    """The manifest with each image so many times."""
    rows = np.repeat(np.arange(len(manifest)), times)
    names = [os.fsencode(manifest.name(row)) for row in rows.tolist()]
    columns: dict[str, Any] = {name: getattr(manifest, name)[rows] for name in COLUMNS if name not in OF_THE_WHOLE}
    columns["names"] = np.frombuffer(b"".join(names), np.uint8)
    columns["ends"] = np.cumsum([len(name) for name in names], dtype=np.int64)
    return replace(manifest, **columns)


def _split(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
