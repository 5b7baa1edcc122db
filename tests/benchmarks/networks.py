"""A training step of each network beside the same network of timm or torchvision, in turns, in this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import SGD

from models import factory, reference, registry
from models.config import ModelConfig
from tests.benchmarks.config import BenchConfig
from tests.benchmarks.pairs import compare, in_turns
from trainer import gpu
from trainer.optim.config import LossConfig
from trainer.optim.loss import losses
from trainer.runtime import Runtime

BATCH = 8  # images: enough for a ratio

HEAD = ("name", "counterpart", "pixels", "ours", "theirs", "ratio", "middle half")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A network beside its public counterpart."""

    name: str
    counterpart: str
    """The network of a package, or the function of `models/reference.py` that makes one from a package's parts."""
    image_size: int
    """Pixels."""
    ours_ms: float
    """Median milliseconds of a training step."""
    theirs_ms: float
    """Median milliseconds of a training step."""
    ratio: float
    """Median over the rounds of ours / theirs within the round: above 1 is slower."""
    spread: tuple[float, float]
    """The middle half of those ratios."""


def measure(name: str, runtime: Runtime, config: BenchConfig) -> Row:
    """Time training steps of both in turns: ours, theirs; theirs, ours; ..."""
    row = registry.entry(name)
    size = config.image_size or row.image_size
    ours = _step(factory.build(ModelConfig(name=name, num_classes=row.num_classes)), size, runtime, config)
    theirs = _step(reference.twin(name), size, runtime, config)
    for warm_up in (ours, theirs, ours, theirs):
        warm_up()
    own, others = in_turns((ours, theirs), config.rounds)
    pair = compare(name, "s", own, others)
    return Row(
        name=name,
        counterpart=registry.counterpart(name),
        image_size=size,
        ours_ms=1e3 * pair.ours,
        theirs_ms=1e3 * pair.theirs,
        ratio=pair.ratio,
        spread=pair.spread,
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, under HEAD."""
    low, high = row.spread
    times = f"{row.ours_ms:,.1f} ms", f"{row.theirs_ms:,.1f} ms"
    return row.name, row.counterpart, f"{row.image_size}", *times, f"{row.ratio:.3f}", f"{low:.3f} to {high:.3f}"


def _step(network: nn.Module, size: int, runtime: Runtime, config: BenchConfig) -> Callable[[], float]:
    """A training step on a resident random batch, that gives its own seconds."""
    network = gpu.place(network.train(), runtime.device, channels_last=config.channels_last)
    optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    count = config.batch or BATCH
    images = torch.randn(count, 3, size, size, device=runtime.device)
    images = images.contiguous(memory_format=torch.channels_last if config.channels_last else torch.contiguous_format)
    targets = torch.zeros(count, dtype=torch.int64, device=runtime.device)

    def step() -> float:
        start = time.perf_counter()
        with runtime.autocast():
            outputs = network(images)
        loss = losses(outputs, targets, LossConfig()).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # sync: a copy that waits for everything before it
        return time.perf_counter() - start

    return step
