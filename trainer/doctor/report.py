"""What the doctor says: a table of what was measured, then plain words. Standard library only, but for the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainer.decode import encode
from trainer.doctor import model, words
from trainer.doctor.figures import Figures, Pace
from trainer.doctor.finding import Finding, size

if TYPE_CHECKING:
    from trainer.doctor.session import Visit
    from trainer.doctor.trial import Trial

HEAD = ("what", "images/s", "CPU ms an image", "")

_MS = 1e3
_BUSY = 0.85  # of the cores: with less left, figures are those of a busy machine
_IDLE = 0.5  # of the threads' time: a loader that works less waits for something
_LONG = 0.1  # of an epoch: an evaluation that takes more is spoken of


def opening(found: Visit, machine: Sequence[Finding]) -> Iterator[str]:
    """What was measured on what, and what the machine lacks."""
    place, recipe = found.figures.place, found.recipe
    yield (
        f"{recipe.model.name}, {recipe.input.train_size} px, {recipe.precision}, passes of {recipe.micro_batch} of "
        f"{recipe.global_batch} images; {words.counted(place.world_size, 'process', 'es')}, each with "
        f"{words.counted(place.own_cores, 'core')} and {words.counted(place.threads, 'thread')}; loader: "
        f"{place.backend}; {'GPU' if place.gpu else 'no GPU'}"
    )
    yield from found.notes
    bad = [finding for finding in machine if finding.state != "good"]
    yield f"environment: {words.counted(len(machine), 'check')}, {len(bad)} to look at"
    for finding in bad:
        yield f"  {finding.name}: {finding.says}" + (f"; {finding.mend}" if finding.mend else "")


def show_measures(figures: Figures) -> None:
    """The table."""
    from trainer.terminal import show

    show(HEAD, rows(figures))


def rows(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """The table, row by row."""
    place = figures.place
    waiting = 1 - figures.step.seconds / figures.together.seconds
    yield _row(figures, "loader alone", figures.load, words.counted(place.threads, "thread"))
    yield _row(figures, "step alone", figures.step, "on a batch that is there")
    yield _row(figures, "both together", figures.together, f"{max(0, waiting):.0%} longer than the step")
    yield _row(figures, "evaluation", figures.evaluation, f"{figures.evaluation_wait:.0%} of it waiting for images")
    if saving := figures.saving:
        took = f"holds training {saving.hold_s * _MS:,.0f} ms, its write goes on for {saving.write_s:.2f} s"
        yield "checkpoint", "", "", f"{took}: {size(saving.bytes)} to {saving.disk}"
        if saving.cost_s is not None:
            seen = f"each lengthens training by {saving.cost_s * _MS:,.0f} ms"
            yield "with checkpoints", f"{model.images_per_s(figures):,.1f}", "", seen
    if found := figures.reduction:
        took = f"{found.seconds * _MS:,.1f} ms for {size(found.bytes)}"
        yield "sum of gradients", "", "", f"{took}, of which {found.exposed_s * _MS:,.1f} ms lengthen a step"
    else:
        yield "sum of gradients", "", "", "no other process"


def conclusions(found: Visit) -> Iterator[str]:
    """What bounds it, what to change, and what a trial gave."""
    figures = found.figures
    yield ""
    yield words.headline(figures)
    yield words.whole(figures)
    yield from _remarks(figures)
    yield ""
    if found.advice:
        yield "to change, best first, each alone:"
        for advice in found.advice:
            yield from words.advised(figures, advice)
    else:
        yield "of the settings that were tried none gains 2 % or more"
    for reason in figures.untried:
        yield f"not tried: {reason}"
    if found.trial:
        yield from ("", *_tried(found.trial))


def plain(found: Visit) -> dict[str, Any]:
    """All of it as plain data."""
    figures = found.figures
    diagnosis, epoch = model.diagnosis(figures), model.epoch(figures)
    trial = found.trial
    measured = {"gain": trial.gain, "error": trial.error} if trial else {}
    return {
        "recipe": encode(found.recipe),
        "diagnosis": asdict(diagnosis),
        "headline": words.headline(figures),
        "images_per_s": model.images_per_s(figures),
        "epoch": asdict(epoch) | {"seconds": epoch.seconds, "images_per_s": epoch.images_per_s},
        "hours": words.hours(figures),
        "figures": asdict(figures),
        "advice": [asdict(advice) for advice in found.advice],
        "trial": asdict(trial) | measured if trial else None,
        "notes": found.notes,
    }


def _row(figures: Figures, name: str, pace: Pace, remark: str) -> tuple[str, str, str, str]:
    return name, f"{figures.place.world_size / pace.seconds:,.1f}", f"{pace.cpu_s * _MS:,.2f}", remark


def _remarks(figures: Figures) -> Iterator[str]:
    """What the reader should know before he trusts or changes something."""
    place, load = figures.place, figures.load
    if place.cores < place.own_cores:
        yield f"its control group gives this process {place.cores:.1f} of {words.counted(place.own_cores, 'core')}"
    if place.left < _BUSY * place.cores:
        yield (
            f"other programs took {place.cores - place.left:.1f} of {words.counted(place.own_cores, 'core')} "
            "meanwhile: trust ratios more than rates, and look again on a quiet machine"
        )
    busy = load.cpu_s / (load.seconds * min(place.threads, place.cores, place.left))
    if busy < _IDLE and not place.backend.endswith("gpu"):
        yield (
            f"the loader's threads stand still for {1 - busy:.0%} of their time: they wait for the disk or the "
            "network; images on a local disk, or in the large files of provenet pack, are read faster"
        )
    epoch = model.epoch(figures)
    if epoch.evaluation_s > _LONG * epoch.seconds:
        yield words.evaluation(figures, epoch)


def _tried(trial: Trial) -> Iterator[str]:
    yield f"tried {trial.flags}, in turns with the run as it is:"
    yield f"  as it is   {trial.before:,.1f} images/s"
    yield f"  predicted  {trial.predicted:,.1f} images/s, {trial.predicted_gain:.2f} times"
    high = "high" if trial.error > 0 else "low"
    yield (
        f"  measured   {trial.measured:,.1f} images/s, {trial.gain:.2f} times; the predicted gain was "
        f"{abs(trial.error):.0%} too {high}"
    )
