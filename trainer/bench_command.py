"""`python -m trainer bench`: its flags and its refusals. Loads torch only to measure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from models import registry
from models.config import ModelConfig
from trainer.config import BenchConfig
from trainer.decode import range_problems
from trainer.exits import refuse
from trainer.openmp import rest_at_barriers
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Measure speed in pairs, each side by side in this process, and print a table with ratios.

    --models: a training step of each network beside the same network of timm or torchvision.
    """

    models: bool = False
    """Measure the networks."""
    pattern: str = "*"
    """Networks to measure: part of a name, or a pattern with * and ?."""
    settings: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """What they are measured on."""
    json: Path | None = None
    """Also write the rows to this file."""

    def run(self, world: World) -> int:
        """Measure each pair and print its row."""
        try:
            names = registry.matching(self.pattern)
        except ValueError as error:
            return refuse([*self._problems([], world), f"--pattern: {error}"])
        problems = self._problems(names, world)
        if problems:
            return refuse(problems)
        rest_at_barriers()
        return self._measure(names, world)

    def _problems(self, names: list[str], world: World) -> list[str]:
        found = range_problems(self.settings, flags=True)
        if not self.models:
            found.append("nothing to measure: add --models")
        if world.world_size > 1:
            found.append(f"{world.world_size} processes: pairs are timed in one; start it with python -m trainer bench")
        if self.json and (self.json.is_dir() or not self.json.parent.is_dir()):
            found.append(f"--json: {self.json} cannot be a file; name one in a folder that exists")
        size = self.settings.image_size
        if size is not None:
            found += [problem for name in names for problem in _size_problems(name, size)]
        return found

    def _measure(self, names: list[str], world: World) -> int:
        from data.workers import cores
        from models.console import progress, show
        from trainer import bench
        from trainer.runtime import Runtime

        settings = self.settings
        runtime = Runtime(world, settings.precision, settings.threads or cores())
        rows: list[bench.Row] = []

        def cells() -> Iterator[tuple[str, ...]]:
            for name in progress(names):
                rows.append(bench.measure(name, runtime, settings))
                yield bench.cells(rows[-1])

        show(bench.HEAD, cells())
        if self.json:
            bench.save(rows, runtime, settings, self.json)
        return 0


def _size_problems(name: str, size: int) -> list[str]:
    return registry.problems(ModelConfig(name=name), size, "--image-size")
