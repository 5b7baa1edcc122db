"""Whether our trainer learns as another's script does: same data and recipe, several seeds. Loads no torch."""

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev, variance
from typing import TYPE_CHECKING

from data.workers import cores
from tests.benchmarks import equivalence_plain, equivalence_runs, equivalence_timm
from tests.benchmarks.config import BenchConfig, EquivalenceConfig
from tests.benchmarks.equivalence_runs import BATCH, Run, Study
from tests.benchmarks.image_tree import Images, ready

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD = (
    *("network", "seeds", "ours, top-1", "theirs, top-1", "difference", "loss curves", "evaluation loss"),
    *("whole runs", "verdict"),
)
IMAGE_SIZES = equivalence_plain.IMAGE_SIZES | equivalence_timm.IMAGE_SIZES
EPOCHS = equivalence_plain.EPOCHS | equivalence_timm.EPOCHS

ERRORS = 3.0  # standard errors: of three seeds a side, equal trainers go beyond them one time in 25
LEAST = 0.5  # points that never count: three runs that happen to agree have hardly an error
MOST = 1.5  # points that always count
NOISE = 1.0  # points: a greater standard error would hide what is looked for
CURVES = 0.15

Sides = tuple[list[float], list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivalence:
    """Runs of one network on both sides, a run for each seed."""

    network: str
    ours: Sequence[Run]
    theirs: Sequence[Run]

    @property
    def top1(self) -> Sides:
        """After the last epoch of each run, percent: ours, theirs."""
        ours, theirs = ([run.top1[-1] for run in side] for side in (self.ours, self.theirs))
        return ours, theirs

    @property
    def losses(self) -> Sides:
        """Mean over the runs of the mean loss of each epoch: ours, theirs."""
        ours, theirs = (
            [fmean(epoch) for epoch in zip(*(run.epoch_losses() for run in side), strict=True)]
            for side in (self.ours, self.theirs)
        )
        return ours, theirs

    @property
    def difference(self) -> float:
        """Mean top-1 of ours less that of theirs, points."""
        ours, theirs = self.top1
        return fmean(ours) - fmean(theirs)

    @property
    def error(self) -> float:
        """Standard error of the difference, points, each side by its own variance (Welch)."""
        return math.sqrt(sum(variance(side) / len(side) for side in self.top1))

    @property
    def curves(self) -> float:
        """Greatest difference of the two mean losses of an epoch, as a share of theirs."""
        return max(abs(mine - other) / other for mine, other in zip(*self.losses, strict=True))

    @property
    def speed(self) -> float:
        """Images/s of our whole runs, start and evaluations included, divided by theirs: median over the seeds."""
        return median(theirs.seconds / ours.seconds for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def verdict(self) -> str:
        """equal, differs or too noisy: great variance must not pass for equality."""
        if abs(self.difference) > min(MOST, max(ERRORS * self.error, LEAST)) or self.curves > CURVES:
            return "differs"
        return "too noisy" if self.error > NOISE else "equal"

    def summary(self) -> dict[str, object]:
        """For JSON, the runs included."""
        return {
            "network": self.network,
            "ours": self.ours,
            "theirs": self.theirs,
            "difference": self.difference,
            "standard_error": self.error,
            "curves": self.curves,
            "speed": self.speed,
            "verdict": self.verdict,
        }


def networks(pattern: str | None, ours: Callable[[str], list[str]]) -> Sequence[str]:
    """Names that a pattern stands for: timm's where it has a slash; `ours` gives the others.

    Raises:
        ValueError: There are none of ours.
    """
    if pattern is None:
        return tuple(equivalence_plain.IMAGE_SIZES)
    if "/" not in pattern:
        return ours(pattern)
    return fnmatch.filter(equivalence_timm.IMAGE_SIZES, pattern) or [pattern]


def cells(row: Equivalence) -> tuple[str, ...]:
    """A row as text, under HEAD."""
    sides = (row.ours, row.theirs)
    ours, theirs = (f"{fmean(side):.2f} +- {stdev(side):.2f} %" for side in row.top1)
    losses = [[run.evaluation_losses[-1] for run in side] for side in sides]
    evaluation = ", ".join(f"{fmean(side):.3f} +- {stdev(side):.3f}" for side in losses)
    seconds = ", ".join(f"{median(run.seconds for run in side):.0f} s" for side in sides)
    difference = f"{row.difference:+.2f} +- {row.error:.2f} points"
    found = ours, theirs, difference, f"{row.curves:.1%} apart", evaluation, f"{seconds}: x {row.speed:.2f}"
    return row.network, str(len(row.ours)), *found, row.verdict


def measure(study: Study, seeds: int) -> Equivalence:
    """Train both sides in turns.

    Raises:
        tests.benchmarks.contestant.FailedError: A run failed.
    """
    pairs = [_both(study, seed) for seed in range(seeds)]
    return Equivalence(network=study.network, ours=[ours for ours, _ in pairs], theirs=[theirs for _, theirs in pairs])


def _both(study: Study, seed: int) -> tuple[Run, Run]:
    """Ours and theirs with a seed: ours first for even ones, theirs for odd ones, as the machine may slow down."""
    peer = equivalence_timm if study.network in equivalence_timm.IMAGE_SIZES else equivalence_plain
    plan = peer.recipe(study)
    if seed % 2 == 0:
        return equivalence_runs.ours(study, plan, seed), peer.theirs(study, plan, seed)
    second, first = peer.theirs(study, plan, seed), equivalence_runs.ours(study, plan, seed)
    return first, second


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What is asked for."""

    script: Path
    """Theirs."""
    networks: Sequence[str]
    data: Path | None
    """Image tree. None: images are drawn."""
    bench: BenchConfig
    config: EquivalenceConfig

    def problems(self) -> list[str]:
        """Why there is nothing to compare, one line each, for the user."""
        found: list[str] = []
        if not self.script.is_file():
            found.append(f"--equivalence: {self.script} is not a file; name tests/system/plain_pytorch.py")
        known = equivalence_timm.IMAGE_SIZES if "/" in "".join(self.networks) else equivalence_plain.IMAGE_SIZES
        if strangers := [name for name in self.networks if name not in known]:
            found.append(f"--pattern: --equivalence compares {' and '.join(known)}, not {', '.join(strangers)}")
        if self.config.crop == "padded" and not self.data:
            found.append("--crop: padded is for images of the network's size; name some with --data")
        elif self.config.crop == "padded" and known is equivalence_timm.IMAGE_SIZES:
            found.append("--crop: padded is for the plain script")
        return found

    def studies(self, folder: Path) -> list[Study]:
        """What to train; `folder` takes whatever is written.

        Raises:
            tests.benchmarks.contestant.FailedError: Images cannot be drawn or listed.
        """
        threads = self.bench.threads or cores()
        root = self.data or folder / "images"
        if not self.data:
            equivalence_runs.draw(root, self.config.images, threads)
        images = ready(root, folder, 0)
        return [self._study(network, images, threads, folder) for network in self.networks]

    def _study(self, network: str, images: Images, threads: int, folder: Path) -> Study:
        return Study(
            network=network,
            image_size=self.bench.image_size or IMAGE_SIZES[network],
            crop=self.config.crop,
            epochs=self.config.epochs or EPOCHS[network],
            batch=self.bench.batch or BATCH,
            images=images,
            threads=threads,
            script=self.script.resolve(),
            folder=folder,
        )


def draw(rows: Sequence[Equivalence], file: Path) -> None:
    """Write a plot of the loss of every run, and of its top-1 after each epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4 * len(rows)), layout="constrained")
    for row, (loss, top1) in zip(rows, figure.subplots(len(rows), 2, squeeze=False), strict=True):
        for name, runs, color in (("ours", row.ours, "C0"), ("theirs", row.theirs, "C1")):
            for number, run in enumerate(runs):
                style = {"color": color, "alpha": 0.7, "label": None if number else f"{name}, {len(runs)} seeds"}
                loss.plot(list(run.losses), list(run.losses.values()), linewidth=1, **style)
                top1.plot(range(1, len(run.top1) + 1), run.top1, marker=".", **style)
        _label(loss, row.network, "optimizer step", "training loss")
        _label(top1, f"{row.network}: {cells(row)[4]}, {row.verdict}", "epoch", "top-1, %")
        top1.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(file, dpi=120)


def _label(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend()
