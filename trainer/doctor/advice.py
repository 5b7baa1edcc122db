"""Which settings to change, best first, each with what it is predicted to give. Standard library only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainer.doctor import model
from trainer.doctor.figures import Change, Figures, Pace

LEAST_GAIN = 1.02
CHECKPOINT_SHARE = 0.01  # of training's time, above which checkpoints are too frequent

_FAR = 4  # times the larger size of pass that was measured: beyond it a line through two points says little
_NEAR = 1.05  # of the least time: a pass larger than that needs memory for nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A change that is worth it."""

    change: Change
    images_per_s: float
    """Predicted, training with its checkpoints, over all processes."""
    gain: float
    """The same, as times what it is now."""

    @property
    def on_the_spot(self) -> bool:
        """Whether this process can try it."""
        return self.change.kind != "cores"


def advise(figures: Figures) -> list[Advice]:
    """What gains 2 % or more: first what this machine can do, by its gain, then another machine.

    One change of a kind: the best.
    """
    now = model.images_per_s(figures)
    best: dict[str, Advice] = {}
    for change in (*figures.changes, *_computed(figures)):
        rate = model.images_per_s(figures, change)
        advice = Advice(change=change, images_per_s=rate, gain=rate / now)
        if advice.gain >= max(LEAST_GAIN, best[change.kind].gain if change.kind in best else 0):
            best[change.kind] = advice
    return sorted(best.values(), key=lambda advice: (not advice.on_the_spot, -advice.gain))


def _computed(figures: Figures) -> Iterator[Change]:
    """Changes whose effect follows from what was measured."""
    yield from _threads(figures)
    yield from _cores(figures)
    yield from _micro_batch(figures)
    yield from _compression(figures)
    yield from _saving(figures)


def _threads(figures: Figures) -> Iterator[Change]:
    """On a GPU, as many threads as keep up with it; without one the network has them too, and that is measured."""
    place = figures.place
    if not place.gpu:
        return
    for threads in range(place.threads + 1, place.own_cores + 1):
        change = Change(kind="threads", flags=f"--threads {threads}", site={"threads": threads})
        yield change
        if model.threaded(figures.load, place.threads, threads, place.cores).seconds <= figures.step.seconds:
            return


def _cores(figures: Figures) -> Iterator[Change]:
    """As many cores as would keep up with a GPU, or twice as many without one, where all are in use."""
    place, load, step = figures.place, figures.load, figures.step
    if place.threads < place.own_cores or model.limit(figures) == "step":
        return
    wanted = math.ceil((load.cpu_s + step.cpu_s) / step.seconds) if place.gpu else 2 * place.own_cores
    times = wanted / place.own_cores
    if times <= 1:
        return
    # the CPU time of both is spread over more cores than the figures have: it is theirs divided
    quicker = step if place.gpu else Pace(step.seconds / times, step.cpu_s / times)
    yield Change(
        kind="cores",
        flags=f"a machine with {wanted} cores for each process (provenet submit --cpus-per-process {wanted})",
        load=Pace(load.seconds / times, load.cpu_s / times),
        step=replace(quicker, cpu_s=step.cpu_s / times),
    )


def _micro_batch(figures: Figures) -> Iterator[Change]:
    """The smallest pass that is nearly as quick as the largest of which something can be said."""
    if not (passes := figures.passes):
        return
    known = [size for size in figures.larger if size <= _FAR * passes.measured[1]]
    if not known:
        return
    enough = next(size for size in known if passes.seconds(size) <= _NEAR * passes.seconds(known[-1]))
    times = passes.seconds(enough) / passes.seconds(figures.job.micro_batch)
    yield Change(
        kind="micro_batch",
        flags=f"--micro-batch {enough}",
        recipe={"micro_batch": enough},
        step=_times(figures.step, times),
    )


def _compression(figures: Figures) -> Iterator[Change]:
    found = figures.reduction
    if not found or not found.exposed_s or found.half_s >= found.seconds:
        return
    saved = found.exposed_s * (1 - found.half_s / found.seconds)
    images = figures.job.global_batch / figures.place.world_size
    yield Change(
        kind="compression",
        flags="--gradient-compression bf16",
        recipe={"gradient_compression": "bf16"},
        step=Pace(figures.step.seconds - saved / images, figures.step.cpu_s),
    )


def _saving(figures: Figures) -> Iterator[Change]:
    """So many steps, or minutes, from one checkpoint to the next that all take a hundredth of training."""
    job, cost, step_s = figures.job, model.checkpoint_s(figures), model.step_s(figures)
    every = model.interval(figures)
    if cost <= CHECKPOINT_SHARE * (cost + every * step_s) or every == job.steps:
        return
    seconds = cost / CHECKPOINT_SHARE
    if job.save_steps:
        steps = _round_up(seconds / step_s)
        yield Change(kind="saving", flags=f"--save-steps {steps}", site={"save_steps": steps})
    else:
        minutes = math.ceil(seconds / 60)
        yield Change(kind="saving", flags=f"--save-minutes {minutes}", site={"save_minutes": float(minutes)})


def _times(pace: Pace, times: float) -> Pace:
    return Pace(pace.seconds * times, pace.cpu_s * times)


def _round_up(number: float) -> int:
    """To a number of one or two digits and zeros: 234 gives 240."""
    power = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return math.ceil(number / power) * power
