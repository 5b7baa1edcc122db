"""What `python -m tests.benchmarks training` can measure: from a name and settings to rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.workers import cores
from models import registry
from tests.benchmarks import engine, program_peers, scaling, startup, watching
from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.image_tree import ready
from tests.benchmarks.our_program import Work
from tests.benchmarks.pairs import Pair

Measure = Literal["engine", "telemetry", "stall", "scaling", "startup", "peers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What to measure on, and where."""

    config: BenchConfig
    folder: Path
    """For whatever is written on the way."""
    data: Path | None
    """Images for whole programs. None: they are drawn."""
    scripts: Mapping[program_peers.Peer, Path]
    """The peers' own."""

    def pairs(self, measure: Measure, network: str) -> list[Pair]:
        """One measure of one network.

        Raises:
            tests.benchmarks.contestant.FailedError: A process that was timed ended early.
        """
        kinds: dict[Measure, Callable[[], list[Pair]]] = {
            "engine": lambda: engine.measure(self._task(network), self.config),
            "telemetry": lambda: watching.measure(self._task(network), self.config),
            "stall": lambda: self._stall(network),
            "scaling": lambda: scaling.measure(self._task(network), self.config),
            "startup": lambda: startup.measure(self._work(network), self.config),
            "peers": lambda: program_peers.measure(self.scripts, self._work(network), self.config),
        }
        return kinds[measure]()

    def _stall(self, network: str) -> list[Pair]:
        from tests.benchmarks import stall  # loads torch, here alone: the others measure other processes

        return stall.measure(self._task(network), self.config)

    def _task(self, network: str) -> LoopTask:
        size = self._size(network)
        return LoopTask(
            loop="ours",
            network=network,
            num_classes=registry.entry(network).num_classes,
            image_size=size,
            batch=self.config.batch_of(size),
            steps=self.config.steps,
            precision=self.config.precision or "bf16",
            channels_last=self.config.channels_last,
            threads=self._threads,
            folder=self.folder / network,
        )

    def _work(self, network: str) -> Work:
        size = self._size(network)
        batch = self.config.batch_of(size)
        return Work(
            network=network,
            images=ready(self.data, self.folder, batch * (self.config.steps + 1)),
            image_size=size,
            batch=batch,
            threads=self._threads,
            folder=self.folder,
        )

    @property
    def _threads(self) -> int:
        return self.config.threads or cores()

    def _size(self, network: str) -> int:
        return self.config.image_size or registry.entry(network).image_size
