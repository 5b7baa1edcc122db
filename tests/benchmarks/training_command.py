"""`python -m tests.benchmarks training`: its flags and its refusals. Loads torch only to measure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from data.workers import cores
from models import registry
from models.config import ModelConfig
from tests.benchmarks import equivalence
from tests.benchmarks.config import BenchConfig, EquivalenceConfig
from tests.benchmarks.equivalence import Comparison, Equivalence
from trainer.cpus import sleep_at_barriers
from trainer.exits import FAILED, refuse
from trainer.recipe.decode import range_problems
from trainer.world import World, from_environment

if TYPE_CHECKING:
    from tests.benchmarks.measures import Bench as Measures
    from tests.benchmarks.measures import Measure

TREE = "expected ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG"
PEERS = {
    "timm": "its train.py: git clone https://github.com/huggingface/pytorch-image-models",
    "torchvision": "its references/classification/train.py: git clone https://github.com/pytorch/vision",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Measure speed in pairs, the two of each in turns, and print tables with ratios and what they should be.

    On a machine that does other work trust the ratios, and their middle halves. Programs are timed on the CPU.

    Example: python -m tests.benchmarks training --engine --stall --json bench.json
    """

    models: bool = False
    """A training step of each network beside the same network of timm or torchvision."""
    engine: bool = False
    """Our training loop with all it does beside a bare one on a resident batch: rate, CPU time, peak memory."""
    telemetry: bool = False
    """Our training loop as it is beside itself without clocks, norms, records and TensorBoard."""
    stall: bool = False
    """How long a checkpoint holds training, beside its synchronous write to the same disk (TMPDIR says which)."""
    scaling: bool = False
    """Our loop on several ranks of a thread each, started by torchrun, beside bare DDP, and both beside one rank."""
    startup: bool = False
    """`provenet train` to its first step, beside imports, network and first batch of a bare script."""
    peer_timm: Path | None = None
    """The train.py of timm's repository, to be run as it is beside `provenet train`."""
    peer_torchvision: Path | None = None
    """The references/classification/train.py of torchvision's repository, likewise."""
    equivalence: Path | None = None
    """tests/system/plain_pytorch.py, or with --pattern timm/* the train.py of timm's repository: train it and ours by
    one recipe, in turns; exit code 1 where they differ."""
    figure: Path | None = None
    """PNG of the curves of --equivalence. None: equivalence.png beside the file of --json, or where this is started."""
    data: Path | None = None
    """Image tree for --startup, --peer-* and --equivalence. None: images are drawn, of ImageNet's sizes or smaller."""
    pattern: str | None = None
    """Networks: part of a name, or a pattern with * and ?. None: all with --models, resnet18 and resnet20 with
    --engine, --telemetry and --equivalence, resnet50 with --stall, else resnet18."""
    settings: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """What they are measured on."""
    trained: Annotated[EquivalenceConfig, tyro.conf.arg(name="")]
    """What --equivalence trains."""
    json: Path | None = None
    """Also write the rows to this file."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Measure, and print a table of each kind."""
        world = from_environment()
        if problems := self._problems(world):
            return refuse(problems)
        sleep_at_barriers()
        from tests.benchmarks.contestant import FailedError
        from tests.benchmarks.measures import Bench as Measures

        with TemporaryDirectory(prefix="bench-") as folder:
            measures = Measures(config=self.settings, folder=Path(folder), data=self.data, scripts=self._scripts)
            try:
                tables = self._tables(measures, world)
                rows = self._show_equivalence(Path(folder)) if self.equivalence else []
            except FailedError as error:
                sys.stderr.write(f"failed: {error}\n")
                return FAILED
        if rows:
            tables["equivalence"] = [row.summary() for row in rows]
        if self.json:
            self._save(self.json, tables)
        return FAILED if any(row.verdict != "equal" for row in rows) else 0

    @property
    def _scripts(self) -> dict[Any, Path]:
        given = {"timm": self.peer_timm, "torchvision": self.peer_torchvision}
        return {peer: path.resolve() for peer, path in given.items() if path}

    @property
    def _wanted(self) -> dict[Measure, tuple[str, ...]]:
        """Which measures, and of which networks each if none are named."""
        kinds: dict[Measure, tuple[bool, tuple[str, ...]]] = {
            "engine": (self.engine, ("resnet18", "resnet20")),
            "telemetry": (self.telemetry, ("resnet18", "resnet20")),
            "stall": (self.stall, ("resnet50",)),
            "scaling": (self.scaling, ("resnet18",)),
            "startup": (self.startup, ("resnet18",)),
            "peers": (bool(self._scripts), ("resnet18",)),
        }
        return {kind: networks for kind, (wanted, networks) in kinds.items() if wanted}

    def _networks(self, usual: Sequence[str]) -> Sequence[str]:
        return usual if self.pattern is None else registry.matching(self.pattern)

    def _tables(self, measures: Measures, world: World) -> dict[str, list[Any]]:
        tables: dict[str, list[Any]] = {}
        if self.models:
            tables["models"] = self._show_models(world)
        for kind, usual in self._wanted.items():
            tables[kind] = _show_pairs(measures, kind, self._networks(usual))
        return tables

    def _show_models(self, world: World) -> list[Any]:
        from tests.benchmarks import networks as models
        from trainer.runtime import Runtime
        from trainer.terminal import progress, show

        settings = self.settings
        runtime = Runtime(world, settings.precision or "fp32", settings.threads or cores())
        rows: list[models.Row] = []

        def cells() -> Iterator[tuple[str, ...]]:
            for name in progress(self._networks(registry.names()), "measuring", "networks"):
                rows.append(models.measure(name, runtime, settings))
                yield models.cells(rows[-1])

        show(models.HEAD, cells())
        return rows

    def _show_equivalence(self, folder: Path) -> list[Equivalence]:
        from trainer.terminal import progress, show

        rows = [
            equivalence.measure(study, self.trained.seeds)
            for study in progress(self._comparison.studies(folder), "comparing", "networks")
        ]
        show(equivalence.HEAD, map(equivalence.cells, rows))
        equivalence.draw(rows, self._figure)
        return rows

    @property
    def _comparison(self) -> Comparison:
        assert self.equivalence
        return Comparison(
            script=self.equivalence,
            networks=equivalence.networks(self.pattern, registry.matching),
            data=self.data,
            bench=self.settings,
            config=self.trained,
        )

    @property
    def _figure(self) -> Path:
        return self.figure or (self.json.parent if self.json else Path()) / "equivalence.png"

    def _save(self, file: Path, tables: dict[str, list[Any]]) -> None:
        from tests.benchmarks import report

        found = {"machine": report.machine(), "options": asdict(self.settings), **tables}
        file.write_text(json.dumps(found, indent=2, default=asdict) + "\n")

    def _problems(self, world: World) -> list[str]:
        found = range_problems(self.settings, flags=True)
        if not (self.models or self._wanted or self.equivalence):
            kinds = (*("models", "engine", "telemetry", "stall", "scaling", "startup"), "peer-timm", "peer-torchvision")
            found.append(f"nothing to measure: add {', '.join(f'--{kind}' for kind in kinds)} or --equivalence")
        if world.world_size > 1:
            found.append(
                f"{world.world_size} processes: pairs are timed in one; start it with python -m tests.benchmarks"
            )
        for flag, file in (("--json", self.json), ("--figure", self.figure)):
            if file and (file.is_dir() or not file.parent.is_dir()):
                found.append(f"{flag}: {file} cannot be a file; name one in a folder that exists")
        found += range_problems(self.trained, flags=True)
        return [*found, *self._machine_problems(), *self._file_problems(), *self._network_problems()]

    def _machine_problems(self) -> list[str]:
        found: list[str] = []
        if self.engine and not Path("/proc/self/status").exists():
            found.append("--engine: this system has no /proc, where peak memory is read; run it on Linux")
        if self.scaling and cores() < 2:
            found.append("--scaling: two ranks need two cores, and this process may use one")
        return found

    def _file_problems(self) -> list[str]:
        found = [
            f"--peer-{peer}: {path} is not a file; name {PEERS[peer]}"
            for peer, path in self._scripts.items()
            if not path.is_file()
        ]
        if self.data and not (self.startup or self._scripts or self.equivalence):
            found.append("--data: has no effect without --startup, --peer-* or --equivalence")
        elif self.data:
            lacking = [split for split in ("train", "val") if not (self.data / split).is_dir()]
            found += [f"--data: {self.data} has no folder {split}; {TREE}" for split in lacking]
        return found

    def _network_problems(self) -> list[str]:
        try:
            every = [self._networks(registry.names())] if self.models else []
            every += [self._networks(usual) for usual in self._wanted.values()]
            every += [self._comparison.networks] if self.equivalence else []
        except ValueError as error:
            return [f"--pattern: {error}"]
        size = self.settings.image_size
        names = dict.fromkeys(name for names in every for name in names if "/" not in name)
        found = self._comparison.problems() if self.equivalence else []
        return [*found, *(problem for name in names if size for problem in _size_problems(name, size))]


def _size_problems(name: str, size: int) -> list[str]:
    return registry.problems(ModelConfig(name=name), size, "--image-size")


def _show_pairs(measures: Measures, kind: Measure, networks: Sequence[str]) -> list[Any]:
    from tests.benchmarks import pairs
    from trainer.terminal import progress, show

    rows: list[pairs.Pair] = []

    def cells() -> Iterator[tuple[str, ...]]:
        for network in progress(networks, kind, "networks"):
            found = measures.pairs(kind, network)
            rows.extend(found)
            yield from map(pairs.cells, found)

    show(pairs.HEAD, cells())
    return rows
