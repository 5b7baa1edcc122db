"""Which settings to change, best first, each with what it is predicted to give. Loads no torch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainer.doctor import bound
from trainer.doctor.bound import Change, Figures, Pace

LEAST_GAIN = 1.02
CHECKPOINT_SHARE = 0.01  # of training's time, above which checkpoints are too frequent


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A change of settings: predicted images/s of all processes with checkpoints, and their ratio to the current."""

    change: Change
    images_per_s: float
    gain: float

    @property
    def effect(self) -> str:
        """What it may change besides the speed."""
        if self.change.recipe:
            return "part of the recipe: the accuracy may change a little"
        return "a killed run loses more" if self.change.kind == "saving" else "the last bits of results may change"

    @property
    def can_be_tried(self) -> bool:
        """Whether this process can try it, in seconds; to compile once more takes longer."""
        return self.change.kind not in ("cores", "saving", "compile")


@dataclass(frozen=True, slots=True)
class Trial:
    """The run with its own and with the advised settings, measured in turns: images/s of all processes."""

    flags: str
    before: float
    measured: float
    gain: float
    predicted_gain: float


@dataclass(frozen=True, slots=True)
class Visit:
    """The figures, the advice that follows from them, and notes on how they were measured."""

    figures: Figures
    advice: list[Advice]
    trial: Trial | None
    notes: list[str]


def advise(figures: Figures) -> list[Advice]:
    """Changes that gain 2 % or more: the best of each kind, the greatest gain first, but another machine last."""
    now, best = bound.images_per_s(figures), dict[str, Advice]()
    for change in (*figures.changes, *_threads(figures), *_cores(figures), *_compression(figures), *_saving(figures)):
        rate = bound.images_per_s(figures, change)
        advice = Advice(change=change, images_per_s=rate, gain=rate / now)
        if advice.gain >= LEAST_GAIN and (change.kind not in best or advice.gain > best[change.kind].gain):
            best[change.kind] = advice
    return sorted(best.values(), key=lambda one: (one.change.kind == "cores", -one.gain))


def _threads(figures: Figures) -> Iterator[Change]:
    """With a GPU, as many threads as keep up with it; without one the network uses them too, and that is measured."""
    place, load, step = figures.place, figures.load, figures.step
    for threads in range(place.threads + 1, place.own_cores + 1) if place.gpu else ():
        more = Pace(max(load.seconds * place.threads / threads, load.cpu_s / place.own_cores), load.cpu_s)
        seconds = bound.predicted_s(figures, more, step, place.own_cores)
        yield Change("threads", f"--threads {threads}", site={"threads": threads}, seconds=seconds)
        if more.seconds <= step.seconds:
            return


def _cores(figures: Figures) -> Iterator[Change]:
    """As many cores as would keep up with a GPU, or twice as many without one, where all are in use."""
    place, load, step = figures.place, figures.load, figures.step
    limits = bound.limits(load, step, place.own_cores)
    if place.threads < place.own_cores or max(limits.values()) == step.seconds:
        return
    wanted = math.ceil((load.cpu_s + step.cpu_s) / step.seconds) if place.gpu else 2 * place.own_cores
    times = wanted / place.own_cores
    if times > 1:
        more = Pace(load.seconds / times, load.cpu_s)
        quicker = step if place.gpu else Pace(step.seconds / times, step.cpu_s)
        flags = f"a machine with {wanted} cores for each process (provenet submit --cpus-per-process {wanted})"
        yield Change("cores", flags, seconds=bound.predicted_s(figures, more, quicker, place.own_cores * times))


def _compression(figures: Figures) -> Iterator[Change]:
    """Half the bytes in half the time."""
    if (sums := figures.reduction) and figures.recipe.gradient_compression == "none":
        step = replace(figures.step, seconds=figures.step.seconds - sums.exposed_s / 2 / figures.share)
        seconds = bound.predicted_s(figures, figures.load, step, figures.place.own_cores)
        recipe = {"gradient_compression": "bf16"}
        yield Change("compression", "--gradient-compression bf16", recipe=recipe, seconds=seconds)


def _saving(figures: Figures) -> Iterator[Change]:
    """As many steps, or minutes, between checkpoints as make them a hundredth of training."""
    step_s, every = bound.step_s(figures), bound.interval(figures)
    if (cost_s := figures.cost_s) <= CHECKPOINT_SHARE * (cost_s + every * step_s) or every == figures.steps:
        return
    seconds = cost_s / CHECKPOINT_SHARE
    name, length_s = ("save_steps", step_s) if figures.site.save_steps else ("save_minutes", 60)
    every = math.ceil(seconds / length_s)
    yield Change("saving", f"--{name.replace('_', '-')} {every}", site={name: every})
