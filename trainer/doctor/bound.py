"""What limits the speed of a run, as pure functions of measured figures. Loads no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.recipe.config import Recipe, SiteConfig

Kind = Literal["threads", "cores", "loader", "precision", "micro_batch", "compile", "compression", "saving"]
Bound = Literal["loader", "cpu", "passes", "reduction", "checkpoints", "step"]

NOTABLE = 0.1  # share of the time below which nothing but the step itself bounds a run


@dataclass(frozen=True, slots=True)
class Pace:
    """Time per image of one process's images: seconds, and CPU seconds of all threads."""

    seconds: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """The machine, as one process sees it; `own_cores` are its CPUs."""

    gpu: bool
    own_cores: int
    threads: int
    world_size: int
    backend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """A checkpoint: seconds for which training waits, for which it is written, and which training loses in all."""

    hold_s: float
    write_s: float
    cost_s: float
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """The sum of all gradients over the processes: its seconds alone, and those that it adds to a step."""

    seconds: float
    exposed_s: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """Other settings for the run, as flags and as fields of recipe and site."""

    kind: Kind
    flags: str
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    site: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float | None = None
    """Per image in training with them, measured or predicted, without checkpoints; None: unchanged."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured of one run, with the number of images of train and val.

    Paces are without checkpoints. There is a `saving` where one could be written, a `reduction` where there are other
    processes; `changes` are other settings, each alone; `untried` says for the user what was not measured, and why.
    """

    place: Place
    recipe: Recipe
    site: SiteConfig
    images: Mapping[str, int]
    load: Pace
    together: Pace
    step: Pace
    evaluation: Pace
    saving: Saving | None = None
    reduction: Reduction | None = None
    changes: tuple[Change, ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return max(1, self.images["train"] // self.recipe.global_batch)

    @property
    def cost_s(self) -> float:
        """Seconds that a checkpoint takes from training."""
        return self.saving.cost_s if self.saving else 0.0

    @property
    def share(self) -> float:
        """Images of one process in an optimizer step."""
        return self.recipe.global_batch / self.place.world_size


def limits(load: Pace, step: Pace, cores: float) -> dict[Bound, float]:
    """Seconds per image that loader, step and CPU cores need at least."""
    return {"loader": load.seconds, "step": step.seconds, "cpu": (load.cpu_s + step.cpu_s) / cores}


def predicted_s(figures: Figures, load: Pace, step: Pace, cores: float) -> float:
    """Seconds per image with another loader and step: the current ones, scaled by the ratio of the slowest limits."""
    now = max(limits(figures.load, figures.step, figures.place.own_cores).values())
    return figures.together.seconds * max(limits(load, step, cores).values()) / now


def step_s(figures: Figures, change: Change | None = None) -> float:
    """Seconds of an optimizer step, without checkpoints."""
    image_s = change.seconds if change and change.seconds else figures.together.seconds
    return image_s * figures.share


def interval(figures: Figures, change: Change | None = None) -> int:
    """Optimizer steps from one checkpoint to the next; each epoch ends with one as well."""
    site, seconds = change.site if change else {}, step_s(figures, change)
    by_count: int = site.get("save_steps", figures.site.save_steps) or figures.steps
    by_clock = math.ceil(60 * site.get("save_minutes", figures.site.save_minutes) / seconds)
    # one that is due while another is written waits for its end
    least = math.ceil(figures.saving.write_s / seconds) if figures.saving else 1
    return max(1, least, min(by_count, by_clock, figures.steps))


def images_per_s(figures: Figures, change: Change | None = None) -> float:
    """Of training with its checkpoints, over all processes."""
    every = interval(figures, change)
    return every * figures.recipe.global_batch / (every * step_s(figures, change) + figures.cost_s)


def epoch(figures: Figures) -> dict[str, float]:
    """Seconds of an epoch of the run, and where they go."""
    evaluated = (figures.images["val"] + figures.recipe.precise_bn) / figures.place.world_size
    return {
        "training": figures.steps * step_s(figures),
        "evaluation": evaluated * figures.evaluation.seconds,
        "checkpoints": (1 + (figures.steps - 1) // interval(figures)) * figures.cost_s,
    }


def diagnose(figures: Figures) -> tuple[Bound, float]:
    """What takes most time besides the step itself, or the step where nothing else takes a tenth; and its share.

    Of checkpoints in an epoch, of the step's own rate that training has, of all others in the steps' time.
    """
    place, now, whole = figures.place, figures.together.seconds, epoch(figures)
    alone = limits(figures.load, figures.step, place.own_cores)
    # without a GPU a loader that may use all cores takes them from the step: neither by itself is the cause
    apart = place.gpu or (place.threads < place.own_cores and max(alone, key=alone.__getitem__) == "loader")
    larger = min((one.seconds or now for one in figures.changes if one.kind == "micro_batch"), default=now)
    shares: dict[Bound, float] = {
        "loader" if apart else "cpu": 1 - figures.step.seconds / now,
        "passes": 1 - larger / now,
        "reduction": figures.reduction.exposed_s / step_s(figures) if figures.reduction else 0.0,
        "checkpoints": whole["checkpoints"] / whole["training"],
    }
    worst = max(shares, key=shares.__getitem__)
    if shares[worst] * whole["training"] < NOTABLE * sum(whole.values()):
        return "step", min(1.0, figures.step.seconds / now)
    return worst, whole["checkpoints"] / sum(whole.values()) if worst == "checkpoints" else shares[worst]
