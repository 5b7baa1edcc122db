"""What the bench's tests train."""

from pathlib import Path

from tests.benchmarks.config import LoopTask


def tiny(folder: Path, network: str = "resnet20") -> LoopTask:
    """A bare loop of two steps of two small images."""
    return LoopTask(
        loop="bare",
        network=network,
        num_classes=10,
        image_size=32,
        batch=2,
        steps=2,
        precision="fp32",
        channels_last=True,
        threads=1,
        folder=folder,
    )
