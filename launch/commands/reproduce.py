"""`provenet reproduce`: a recipe over several seeds, from the queue to the verdict. Loads no torch."""

import json
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from data.output_folder import dangling
from launch.commands import array, status
from launch.commands.array import Array
from launch.run_state import UnderWay
from trainer.commands import parsing
from trainer.commands.parsing import Imports
from trainer.commands.report import Report
from trainer.exits import FAILED, INTERRUPTED, refuse, say
from trainer.recipe import recipes
from trainer.recipe.decode import range_problems
from trainer.rundir import RunDirectory, write_text
from trainer.stopping import START_AGAIN
from trainer.terminal import counting, write

SWEEP = "sweep.yaml"
POLL_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduce:
    """Train a recipe with several seeds, and judge whether it reaches its published accuracy.

    Queues the runs as one array, each in its own folder in --output. The same command again queues lost runs and, when
    all have finished, reports mean, deviation and verdict; with --wait, one command does all. Each run ends with an
    evaluation under the protocol of the published figure. Flags of `provenet array` may follow after --.

    The exit code is 0 when all runs have finished, 75 while some have not.

    Example: provenet reproduce resnet50 --data /imagenet --output runs/r50 --seeds 3 -- --partition
    gpu --gpus-per-node 8 --hours 12
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    data: Path
    """The data set, as for `provenet train`."""
    output: Path
    """Folder of the run directories."""
    seeds: int = field(default=3, metadata={"min": 1, "max": 100})
    """Runs, with the seeds 0, 1, 2 and so on."""
    cluster: Literal["slurm", "local"] = "slurm"
    """Slurm, or this machine, where the runs follow each other unless --parallel is set."""
    imports: Imports = ()
    wait: bool = False
    """Wait until all have finished or failed; Ctrl-C leaves them running."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""
    launch: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The flags of `provenet array` after --."""

    def run(self) -> int:
        """Queue the runs that need it, wait if asked to, and report."""
        if problems := self._problems():
            return refuse(problems)
        if code := self._queue():
            return code
        try:
            if self.wait:
                self._await()
        except KeyboardInterrupt:
            return say("the runs go on; the same command continues to watch them", INTERRUPTED)
        return self._report()

    def _await(self) -> None:
        with counting("reproduce", "runs") as progress:
            while self._are_under_way():
                progress(sum(run.finished() is not None for run in self._runs), self.seeds)
                time.sleep(POLL_S)

    def behind(self, words: tuple[str, ...]) -> "Reproduce":
        return replace(self, launch=words)

    def _problems(self) -> list[str]:
        recipes.load(self.recipe)
        problems = [*range_problems(self, flags=True), *dangling(self.output)]
        if self.output.exists() and not self.output.is_dir():
            return [*problems, f"--output: {self.output} is a file; name a folder"]
        file = self.output / SWEEP
        if file.exists() and file.read_text(encoding="utf-8") != self._sweep():
            problems.append(f"--output: {file} is of another recipe or other seeds; name another folder")
        return problems

    def _sweep(self) -> str:
        recipe = self.recipe if self.recipe in recipes.names() else str(Path(self.recipe).absolute())
        return f"recipe: {json.dumps(recipe)}\ngrid:\n  seed: {list(range(self.seeds))}\n"

    def _queue(self) -> int:
        """Let `provenet array` queue the runs that need it; its exit code."""
        file, existed = self.output / SWEEP, self.output.exists()
        command, is_new, queued = self._array(file), not file.exists(), False
        if is_new:
            self.output.mkdir(parents=True, exist_ok=True)
            write_text(file, self._sweep())
        try:
            code = command.run()
            queued = code == 0
            return code
        finally:
            if is_new and not queued:
                file.unlink()
                with suppress(OSError):
                    _ = existed or self.output.rmdir()

    def _array(self, file: Path) -> Array:
        site = ("--data", str(self.data), "--output", str(self.output), "--cluster", self.cluster)
        parallel = ("--parallel", "1") if self.cluster == "local" and "--parallel" not in self.launch else ()
        code = (word for each in self.imports for word in ("--import", str(each)))
        words = (str(file), *site, *parallel, *code, *self.launch)
        return parsing.parse(Array, words, "provenet array", array.default(words))

    @property
    def _runs(self) -> list[RunDirectory]:
        return [RunDirectory(self.output / f"seed={seed}") for seed in range(self.seeds)]

    def _are_under_way(self) -> bool:
        if all(run.finished() for run in self._runs):
            return False
        rows = status.collect(self.output, {}).rows
        return any(row.state in get_args(UnderWay) for row in rows)

    def _report(self) -> int:
        unfinished = [run.path for run in self._runs if not run.finished()]
        if not any(run.recipe.exists() for run in self._runs):
            return START_AGAIN
        if Report(runs=(self.output,)).run():
            return FAILED
        if unfinished:
            status = f"provenet status {shlex.quote(str(self.output))}"
            write(f"{len(unfinished)} of {self.seeds} runs have not finished: {status}\n")
        return START_AGAIN if unfinished else 0
