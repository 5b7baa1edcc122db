"""What the speed comparison can be told. Standard library only."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "val"]
Contender = Literal[
    "threads", "dali", "dali_gpu", "torchvision", "torchvision-v2", "timm", "dali-example", "spdl", "floor", "decode"
]
REFERENCE: Contender = "torchvision"  # every ratio is to it
FLOOR: Contender = "floor"
OURS: tuple[Contender, ...] = ("threads", "dali", "dali_gpu")

WHAT: dict[Contender, str] = {
    "threads": "this package, threads",
    "dali": "this package, DALI",
    "dali_gpu": "this package, DALI on the GPU: compare images/s, as CPU time leaves the GPU's out",
    "torchvision": "torchvision's reference script: Pillow, worker processes, float32",
    "torchvision-v2": "the same with transforms.v2 over decode_image's tensors",
    "timm": "timm's create_loader, without its colour jitter",
    "dali-example": "DALI's ResNet-50 example on the CPU",
    "spdl": "Meta's SPDL as in its ImageNet example: FFmpeg in threads (needs pip install -e .[bench], FFmpeg)",
    "floor": "libjpeg-turbo on whole images in memory, then one antialiased resize to uint8",
    "decode": "the floor without its resize",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """What the loaders are timed on."""

    split: Split = "train"
    """train: random resized crops and flips; val: resize and central crop."""
    batch: int = field(default=64, metadata={"min": 1, "max": 4096})
    """Images in a batch."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """Threads of each, or worker processes where it has those. None: this machine's cores."""
    image_size: int = field(default=224, metadata={"min": 8, "max": 2048})
    """Side of the images that come out, pixels; for val the resize before it is 8/7 of that."""
    rounds: int = field(default=5, metadata={"min": 1, "max": 1000})
    """Turns of each contender; medians are shown."""
    seconds: float = field(default=3.0, metadata={"min": 0.1, "max": 600})
    """Length of a turn, seconds."""
    contenders: tuple[Contender, ...] = tuple(WHAT)
    """Which to measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchTask:
    """One contender and its work, as its process is told."""

    contender: Contender
    root: Path
    """Data set: an image tree; for this package's own loaders also shards."""
    split: Split
    batch: int
    """Images."""
    threads: int
    """Threads, or worker processes."""
    size: int
    """Side of the images that come out, pixels."""
    manifests: Path
    """Folder with the manifest of the split, for this package's loaders."""

    @property
    def folder(self) -> Path:
        """The split's image tree."""
        return self.root / self.split

    @property
    def training(self) -> bool:
        """Crop and flip at random."""
        return self.split == "train"

    @property
    def resize(self) -> int:
        """Shorter side before the central crop of validation, pixels: 256 for 224."""
        return self.size * 8 // 7

    def encode(self) -> str:
        """One argument of a command line."""
        return json.dumps(asdict(self), default=str)


def decode(text: str) -> BenchTask:
    """Read what `BenchTask.encode` wrote."""
    fields = json.loads(text)
    return BenchTask(**fields | {name: Path(fields[name]) for name in ("root", "manifests")})
