"""The first advice that can be tried on the spot, tried: the run as it is and as advised, in turns."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from data import dataset
from trainer.doctor import model, packing, parts, stretch
from trainer.doctor.advice import Advice
from trainer.doctor.figures import Figures
from trainer.doctor.measures import Rig, together
from trainer.doctor.parts import build_fit
from trainer.doctor.probes import with_change
from trainer.doctor.stretch import Stretch
from trainer.memory import is_short
from trainer.parts import Fit

TURNS = (0, 1, 1, 0, 0, 1)  # a machine that slows down meanwhile slows both; the quickest turn of each counts

ENDLESS = 10**9  # steps of an epoch

_PATIENCE = 4  # stretches, the longest that a turn may take to see two checkpoints


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What came of it."""

    flags: str
    before: float
    """Images/s of all processes, as it is."""
    predicted: float
    """Images/s as advised."""
    measured: float
    """Images/s as advised."""
    predicted_gain: float

    @property
    def gain(self) -> float:
        """Measured in the same turns."""
        return self.measured / self.before

    @property
    def error(self) -> float:
        """By what share the predicted gain was too high, or below zero too low."""
        return self.predicted_gain / self.gain - 1


def try_out(advice: Advice, figures: Figures, rig: Rig, folder: Path) -> Trial | None:
    """Train as it is and as advised, with the checkpoints of each (collective); None: it does not fit into memory.

    Args:
        advice: What to try.
        figures: What it was concluded from.
        rig: The run as it is.
        folder: For the checkpoints of the other.
    """
    # an epoch's end, and the checkpoint there, is not what is tried
    figures = replace(figures, job=replace(figures.job, images=ENDLESS * figures.job.global_batch))
    way = with_change(rig.way, advice.change)
    way = replace(way, site=replace(way.site, output=folder))
    if advice.change.kind == "pack":
        packed = rig.way.site.output / packing.FOLDER
        way = replace(way, sample=replace(way.sample, train=dataset.load(packed, packed, "train")))
    with ExitStack() as stack:
        try:
            fits = parts.saving(rig.fit, stack)[0], parts.saving(build_fit(way, stack), stack)[0]
            least = _least_steps(figures, rig, None), _least_steps(figures, rig, advice)
            found = _in_turns(rig, fits, least)
        except (RuntimeError, MemoryError) as error:
            if is_short(error):
                return None
            raise
    before, measured = (figures.place.world_size / stretch.pace(rig.runtime, done).seconds for done in found)
    return Trial(
        flags=advice.change.flags,
        before=before,
        predicted=model.images_per_s(figures, advice.change),
        measured=measured,
        predicted_gain=model.images_per_s(figures, advice.change) / model.images_per_s(figures),
    )


def _in_turns(rig: Rig, fits: tuple[Fit, Fit], least: tuple[int, int]) -> tuple[list[Stretch], list[Stretch]]:
    found: tuple[list[Stretch], list[Stretch]] = ([], [])
    for fit in fits:  # first steps are slow
        stretch.train(fit, steps=2, seconds=0)
        fit.train_loader.close()
    for turn in TURNS:
        found[turn].append(together(rig, fits[turn], least[turn]))
    return found


def _least_steps(figures: Figures, rig: Rig, advice: Advice | None) -> int:
    """Steps in which two checkpoints fall due, where there is time for them."""
    change = advice.change if advice else None
    every = model.interval(figures, change)
    seconds = 2 * every * model.step_s(figures, change) * _share_measured(figures, rig)
    return 2 * every if seconds <= _PATIENCE * rig.seconds else 1


def _share_measured(figures: Figures, rig: Rig) -> float:
    """Of a step's images, those that a measured step has."""
    job = figures.job
    return rig.way.passes * job.micro_batch * figures.place.world_size / job.global_batch
