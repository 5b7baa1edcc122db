"""From what each part takes alone to what the run takes: pure functions of figures. Standard library only.

Three things can bound an image: the loader by itself, the step by itself, and the CPU time of both on the cores that
both share. Without a GPU the third is about the sum of the first two; with one it rarely matters. What the three leave
unexplained (threads that wait for each other) is taken from the measurement of both together, as a factor that is held
to stay the same when a setting changes. Where it does not, both are tried together: without a GPU, a network that takes
more threads beside a loader that takes them too waits at every operation until all of them are on a core.
"""

import math
from dataclasses import dataclass
from typing import Literal

from trainer.doctor.figures import Change, Figures, Pace, Passes

Limit = Literal["loader", "step", "cpu"]
Bound = Literal["loader", "cpu", "passes", "reduction", "checkpoints", "step"]

NOTABLE = 0.1  # share of the time below which nothing but the step itself is said to bound a run


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """Seconds of an epoch of the run, and where they go."""

    training_s: float
    """Steps, with all waiting."""
    waiting_s: float
    """Of the steps: what they take longer with the loader than on a batch that is there."""
    passes_s: float
    """Of the steps: what each pass takes whatever the number of its images."""
    reduction_s: float
    """Of the steps: sums over the processes that are not hidden behind the backward pass."""
    checkpoints_s: float
    evaluation_s: float
    images: int
    """Trained on."""

    @property
    def seconds(self) -> float:
        """Of all."""
        return self.training_s + self.checkpoints_s + self.evaluation_s

    @property
    def images_per_s(self) -> float:
        """End to end, over all processes."""
        return self.images / self.seconds


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What bounds a run."""

    bound: Bound
    share: float
    """Of the epoch's time with checkpoints; of the steps' time with what lengthens a step; and where the step itself
    bounds the run, the share of its own rate at which it goes."""


def alone(load: Pace, step: Pace, cores: float) -> dict[Limit, float]:
    """Seconds an image, of each thing that can bound it."""
    return {"loader": load.seconds, "step": step.seconds, "cpu": (load.cpu_s + step.cpu_s) / cores}


def image_s(load: Pace, step: Pace, cores: float) -> float:
    """Seconds an image where nothing waits without need."""
    return max(alone(load, step, cores).values())


def limit(figures: Figures) -> Limit:
    """Which of the three bounds an image."""
    bounds = alone(figures.load, figures.step, figures.place.cores)
    return max(bounds, key=lambda name: bounds[name])


def friction(figures: Figures) -> float:
    """How much longer both together take than the model says."""
    return figures.together.seconds / image_s(figures.load, figures.step, figures.place.cores)


def threaded(load: Pace, before: int, after: int, cores: float) -> Pace:
    """The loader with another number of threads, which share its work evenly as far as there are cores."""
    return Pace(max(load.seconds * before / after, load.cpu_s / cores), load.cpu_s)


def fitted(small: int, small_s: float, large: int, large_s: float) -> Passes:
    """What a pass costs by itself, from the seconds of an image in passes of two sizes."""
    pass_s = max(0.0, (small_s - large_s) / (1 / small - 1 / large))
    return Passes(max(0.0, small_s - pass_s / small), pass_s, (small, large))


def changed(figures: Figures, change: Change | None) -> tuple[Pace, Pace]:
    """Loader and step, each alone, under a change."""
    if change is None:
        return figures.load, figures.step
    load, threads = change.load or figures.load, change.site.get("threads")
    if threads and not change.load:
        load = threaded(load, figures.place.threads, threads, figures.place.cores)
    return load, change.step or figures.step


def step_s(figures: Figures, change: Change | None = None) -> float:
    """Seconds of an optimizer step, checkpoints apart."""
    return _together_s(figures, change) * _share(figures)


def interval(figures: Figures, change: Change | None = None) -> int:
    """Optimizer steps from one checkpoint to the next; the end of an epoch has one as well."""
    site, seconds = change.site if change else {}, step_s(figures, change)
    by_count: int = site.get("save_steps", figures.job.save_steps) or figures.job.steps
    by_clock = math.ceil(60 * site.get("save_minutes", figures.job.save_minutes) / seconds)
    # one that falls due while another is written waits for its end
    least = math.ceil(figures.saving.write_s / seconds) if figures.saving else 1
    return max(1, least, min(by_count, by_clock, figures.job.steps))


def checkpoint_s(figures: Figures, change: Change | None = None) -> float:
    """Seconds that one checkpoint takes from training: what it holds it, and the cores that its write takes."""
    saving, place = figures.saving, figures.place
    if not saving:
        return 0.0
    if saving.cost_s is not None:
        return saving.cost_s
    load, step = changed(figures, change)
    images = interval(figures, change) * _share(figures)
    busy = (images * (load.cpu_s + step.cpu_s) + saving.write_cpu_s) / place.cores
    return saving.hold_s + friction(figures) * max(0.0, busy - images * image_s(load, step, place.cores))


def images_per_s(figures: Figures, change: Change | None = None) -> float:
    """Training, checkpoints and all, over all processes."""
    every = interval(figures, change)
    seconds = every * step_s(figures, change) + checkpoint_s(figures, change)
    return every * figures.job.global_batch / seconds


def epoch(figures: Figures) -> Epoch:
    """An epoch of the run as it would be started."""
    job, world_size = figures.job, figures.place.world_size
    images, every = job.steps * job.global_batch, interval(figures)
    own = images / world_size  # images of a process
    per_image = figures.passes.pass_s / job.micro_batch if figures.passes else 0.0
    return Epoch(
        training_s=own * figures.together.seconds,
        waiting_s=own * max(0.0, figures.together.seconds - figures.step.seconds),
        passes_s=own * per_image,
        reduction_s=job.steps * figures.reduction.exposed_s if figures.reduction else 0.0,
        checkpoints_s=(1 + (job.steps - 1) // every) * checkpoint_s(figures),
        evaluation_s=job.evaluated / world_size * figures.evaluation.seconds,
        images=images,
    )


def diagnosis(figures: Figures) -> Diagnosis:
    """What takes most of the time beside the step itself; the step itself where nothing takes a tenth."""
    found = epoch(figures)
    # without a GPU a loader that may use all cores takes them from the step: neither is by itself to blame
    apart = figures.place.gpu or (figures.place.threads < figures.place.own_cores and limit(figures) == "loader")
    waiting: Bound = "loader" if apart else "cpu"
    seconds: dict[Bound, float] = {
        waiting: found.waiting_s,
        "passes": found.passes_s,
        "reduction": found.reduction_s,
        "checkpoints": found.checkpoints_s,
    }
    worst = max(seconds, key=lambda name: seconds[name])
    if seconds[worst] < NOTABLE * found.seconds:
        return Diagnosis("step", min(1.0, figures.step.seconds / figures.together.seconds))
    return Diagnosis(worst, seconds[worst] / (found.seconds if worst == "checkpoints" else found.training_s))


def _together_s(figures: Figures, change: Change | None) -> float:
    """Seconds of an image, checkpoints apart."""
    if change and change.together:
        return change.together.seconds
    return friction(figures) * image_s(*changed(figures, change), figures.place.cores)


def _share(figures: Figures) -> float:
    """Images of one process in an optimizer step."""
    return figures.job.global_batch / figures.place.world_size
