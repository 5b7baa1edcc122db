"""What the doctor measures, as plain numbers. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "threads",
    "cores",
    "loader",
    "pack",
    "precision",
    "channels_last",
    "compile",
    "micro_batch",
    "compression",
    "saving",
]


@dataclass(frozen=True, slots=True)
class Pace:
    """What an image costs one process, of its own images."""

    seconds: float
    """From one image to the next."""
    cpu_s: float
    """CPU seconds of all threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The machine, as one process sees it."""

    gpu: bool
    """Whether the network is on a GPU, and the CPUs are free for the loader."""
    own_cores: int
    """CPU cores that are this process's."""
    cores: float
    """The same, or what its control groups give it, where that is less."""
    left: float
    """How many cores other programs left to it while it was measured."""
    threads: int
    """CPU threads of the loader, and without a GPU of the network."""
    world_size: int
    backend: str
    """What decodes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The run that the user means."""

    images: int
    """To train on, in an epoch."""
    evaluated: int
    """Images that an evaluation takes: all of val, and those of `precise_bn`."""
    epochs: int
    global_batch: int
    micro_batch: int
    save_steps: int | None
    save_minutes: float

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return max(1, self.images // self.global_batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """A checkpoint."""

    hold_s: float
    """Seconds that training stands still for it."""
    write_s: float
    """Seconds that its write goes on behind training."""
    write_cpu_s: float
    """CPU seconds of that."""
    bytes: int
    disk: str
    """Where it was written."""
    cost_s: float | None = None
    """Seconds by which one lengthened training that went on beside its write; None: steps take too long to see it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """Sums of all gradients over the processes."""

    seconds: float
    """Of one, with nothing else going on."""
    half_s: float
    """Of one in bf16."""
    bytes: int
    """Of one, as the recipe sends it."""
    exposed_s: float
    """Seconds by which it lengthens a step: what is not hidden behind the backward pass."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Seconds of a step's image by the images of a pass: `image_s` + `pass_s` / images."""

    image_s: float
    pass_s: float
    measured: tuple[int, int]
    """The two sizes of pass from which it was told."""

    def seconds(self, micro_batch: int) -> float:
        """Of an image in passes of that size."""
        return self.image_s + self.pass_s / micro_batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Settings that could be others, and what was measured with them."""

    kind: Kind
    flags: str
    """As the user types them."""
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the recipe that it changes."""
    site: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the site that it changes."""
    load: Pace | None = None
    """The loader alone with them; None: as it is."""
    step: Pace | None = None
    """The step alone with them; None: as it is."""
    together: Pace | None = None
    """Both with them, where that was tried because the model does not tell; None: the model tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All that was measured of one run."""

    place: Place
    job: Job
    load: Pace
    """The loader alone."""
    step: Pace
    """The step alone, on a batch that is there."""
    together: Pace
    """Both, without checkpoints."""
    evaluation: Pace
    """Evaluation, with its own loader."""
    evaluation_wait: float
    """Share of that in which it waits for images."""
    saving: Saving | None
    """None: no checkpoint could be written, and what failed is said."""
    reduction: Reduction | None = None
    """None: there is no other process."""
    passes: Passes | None = None
    """None: a step is one pass, or the larger size was not tried."""
    larger: tuple[int, ...] = ()
    """Sizes of pass, rising, in which `global_batch` can be dealt out as well."""
    changes: tuple[Change, ...] = ()
    """What else was tried, each alone."""
    untried: tuple[str, ...] = ()
    """What was left out, and why, for the user."""
