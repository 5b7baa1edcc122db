"""What the speed comparison can be told, and what its processes are told. Standard library only."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

Precision = Literal["fp32", "bf16"]
Loop = Literal["ours", "bare", "silent"]
Crop = Literal["resized", "padded"]

LR = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4

_SMALL = 32  # pixels: of CIFAR


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """What everything is timed on."""

    batch: int | None = field(default=None, metadata={"min": 2, "max": 4096})
    """Images of a process's step. None: 8 with --models; else 32, or 128 on images of at most 32 pixels."""
    image_size: int | None = field(default=None, metadata={"min": 8, "max": 2048})
    """Side of the images, pixels. None: the paper's."""
    precision: Precision | None = None
    """Arithmetic of the forward pass: fp32, or bf16 autocast. None: fp32 with --models, else bf16. Not of programs."""
    rounds: int = field(default=11, metadata={"min": 1, "max": 10_000})
    """Turns of each of a pair; medians are shown."""
    starts: int = field(default=3, metadata={"min": 1, "max": 1000})
    """Starts of each program, with --startup and --peer-*."""
    steps: int = field(default=10, metadata={"min": 1, "max": 10_000})
    """Training steps of a turn, or after the first of a program. Our loop logs in each turn."""
    channels_last: bool = True
    """Lay images and convolution weights out as NHWC in memory; faster, same mathematics. Not of programs."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads, with peers also worker processes. None: this machine's cores. --scaling: always 1."""
    ranks: int = field(default=2, metadata={"min": 2, "max": 256})
    """Processes of --scaling; more than there are cores are compared with a bare loop only."""

    def batch_of(self, image_size: int) -> int:
        """Images per process and step of a training loop, for images of so many pixels a side."""
        return self.batch or (128 if image_size <= _SMALL else 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class EquivalenceConfig:
    """What --equivalence trains; of the rest it takes --batch, 32 if not set, --image-size, --threads and --data."""

    seeds: int = field(default=3, metadata={"min": 2, "max": 100})
    """Runs of each side with --equivalence."""
    epochs: int | None = field(default=None, metadata={"min": 1, "max": 10_000})
    """Epochs of each of these runs. None: enough for three seeds in 20 minutes on two cores."""
    images: int = field(default=2000, metadata={"min": 100, "max": 1_000_000})
    """Training images that are drawn for them, and half as many to evaluate; not with --data."""
    crop: Crop = "resized"
    """Their training crops: a random area, resized; or, of images of the network's size, a padded crop as for CIFAR."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopTask:
    """A training loop on one resident batch, as its process is told."""

    loop: Loop
    network: str
    num_classes: int
    image_size: int
    """Pixels."""
    batch: int
    """Images of each process."""
    steps: int
    """In a turn; an epoch of ours."""
    precision: Precision
    channels_last: bool
    threads: int
    """Of each process."""
    folder: Path
    """Run directory of ours."""

    def by(self, loop: Loop, threads: int | None = None) -> "LoopTask":
        """The same for another loop, in a folder of its own, with so many threads if given."""
        return replace(self, loop=loop, threads=threads or self.threads, folder=self.folder / uuid4().hex)

    def encode(self) -> str:
        """One argument of a command line."""
        return json.dumps(asdict(self), default=str)


def decode(text: str) -> LoopTask:
    """Read what `LoopTask.encode` wrote."""
    fields = json.loads(text)
    return LoopTask(**fields | {"folder": Path(fields["folder"])})
