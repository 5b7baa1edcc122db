"""`python -m tests.benchmarks loaders`: flags and refusals. Loads no torch: loaders run in processes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from data.catalog import tree
from tests.benchmarks.loaders_config import BenchConfig
from trainer.exits import BAD_INPUT, FAILED, INTERRUPTED, say
from trainer.recipe.decode import range_problems

if TYPE_CHECKING:
    from tests.benchmarks.loaders import Entry, Place, Row

EXPECTED = "expected ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaders:
    """Measure the loaders beside torchvision's, timm's, DALI's and SPDL's own, and beside a bare decoder: the floor.

    Each runs in a process of its own, on the same images, with the same number of threads; turn by turn, so that what
    else the machine does falls on all. CPU time per image, of all its processes, is the figure to compare; images/s
    depend on the machine's other work. Takes about two minutes.

    Example: python -m tests.benchmarks loaders datasets/big --scaling --json bench.json
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Image tree: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG."""
    settings: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """What they are timed on."""
    shards: Path | None = None
    """The same images packed: measure this package's loaders on them too."""
    scaling: bool = False
    """Also measure plain threads with 1, 2, 4, ... of them."""
    operators: bool = False
    """Also show where the time of the plain threads goes: reading, decoding, resizing, and the rest."""
    gil: bool = False
    """Also show how 1 to 16 plain threads scale where decoding and resizing are waits without the GIL, and how much
    slower another thread launches kernels meanwhile."""
    json: Path | None = None
    """Also write what was found to this file."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Measure and show."""
        problems = self._problems()
        if problems:
            return say("cannot start; nothing was measured" + "".join(f"\n  {line}" for line in problems), BAD_INPUT)
        try:
            with TemporaryDirectory(prefix="bench-") as manifests:
                return self._measure(Path(manifests))
        except ValueError as error:  # of archives that cannot be listed
            return say(f"failed: {error}", FAILED)
        except KeyboardInterrupt:
            return say("interrupted; nothing was written", INTERRUPTED)

    def _measure(self, manifests: Path) -> int:
        from tests.benchmarks import loaders, report

        facts = report.machine()
        place = self._place(self.root, manifests / "root")
        lines = loaders.entries(place, self.settings)
        if self.shards:
            lines += loaders.from_shards(self._place(self.shards, manifests / "shards"), self.settings)
        rows = self._rows("bench", lines)
        report.show_loaders(rows, facts)
        tables: dict[str, Any] = {"loaders": rows, "shards_gain": report.shards_gain(rows)}
        if self.scaling:
            tables["scaling"] = self._rows("scaling", loaders.scaling(place, self.settings))
            report.show_scaling(tables["scaling"])
        if self.operators:
            tables["operators"] = self._parts(place)
            report.show_operators(tables["operators"])
        if self.gil:
            tables |= self._gil(place)
            report.show_gil(tables["gil"], tables["python_ms"])
        if self.json:
            report.save(self.json, self.settings, facts, tables)
        return FAILED if any(row.problem.startswith("failed") for row in rows) else 0

    def _place(self, root: Path, manifests: Path) -> Place:
        from tests.benchmarks import loaders
        from trainer.terminal import counting

        with counting(f"listing {root}", "images") as progress:
            return loaders.place(root, self.settings.split, manifests, progress)

    def _rows(self, what: str, lines: list[Entry]) -> list[Row]:
        from tests.benchmarks import loaders
        from trainer.terminal import counting

        with counting(what, "turns") as progress:
            return loaders.measure(lines, self.settings, progress)

    def _parts(self, place: Place) -> dict[str, float]:
        from tests.benchmarks import loaders, our_loaders
        from trainer.terminal import counting

        with counting("operators", "rounds") as progress:
            return our_loaders.operators(loaders.task("threads", place, self.settings), self.settings.rounds, progress)

    def _gil(self, place: Place) -> dict[str, Any]:
        from tests.benchmarks import gil, loaders
        from trainer.terminal import counting

        task = loaders.task("threads", place, self.settings)
        with counting("GIL", "thread counts") as progress:
            return {"python_ms": gil.python_ms(task), "gil": gil.measure(task, self.settings.seconds, progress)}

    def _problems(self) -> list[str]:
        found = range_problems(self.settings, flags=True)
        if not self.settings.contenders:
            found.append("--contenders: none; name at least one")
        if self.json and (self.json.is_dir() or not self.json.parent.is_dir()):
            found.append(f"--json: {self.json} cannot be a file; name one in a folder that exists")
        if self.shards and not self.shards.is_dir():
            found.append(f"--shards: {self.shards} is not a folder; provenet pack writes one")
        if not Path("/proc/self/stat").exists():
            found.append("this system has no /proc, where CPU times are read; run it on Linux")
        return [*found, *_root_problems(self.root, self.settings.split, self.settings.batch)]


def _root_problems(root: Path, split: str, batch: int) -> list[str]:
    if not (root / split).is_dir():
        missing = f"{root} has no folder {split}" if root.is_dir() else f"{root} is not a folder"
        return [f"ROOT: {missing}; {EXPECTED}"]
    count = tree.read(root / split).count(batch)
    if count < batch:
        return [f"--batch: {batch}, but {root / split} holds {count} images; use --batch {max(count, 1)}"]
    return []
