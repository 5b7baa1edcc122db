"""`python -m tests.system.drill RECIPE`, and `make drill`: flags, refusals and the table."""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from tests.system.drill import small
from tests.system.drill.cluster import Cluster, ClusterError
from tests.system.drill.disturbances import DISTURBANCES, Disturbance, Name
from tests.system.drill.running import DrillError, Running, difference, submit, withdraw
from trainer.commands.parsing import named_recipe, plain_refusals
from trainer.exits import FAILED, refuse
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.recipe.recipes import dump
from trainer.terminal import counting, hush, show

HEAD = ("what happened", "attempts", "steps trained again", "seconds", "same end, to the bit")
_PROCESSES = 2
_COMMON = ("--threads", "1", "--log-every", "1", "--save-steps", "5", "--hours", "0.5")
_ALONE = ("--memory-gb", "7")  # of the 8 of a node: a preemption takes whole nodes


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a disturbed run."""

    name: str
    what: str
    """The disturbance, for the table."""
    attempts: int
    steps_again: int
    """Optimizer steps that were trained more than once, as no checkpoint held them."""
    seconds: float
    """From submission to result."""
    difference: str | None
    """How it differs from the undisturbed run; None: it does not."""

    @property
    def row(self) -> tuple[str, ...]:
        same = "yes" if self.difference is None else f"NO: {self.difference}"
        return (self.what, str(self.attempts), str(self.steps_again), f"{self.seconds:.0f}", same)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """Train a recipe on a Slurm cluster of this machine whose nodes fail, and compare the results bit for bit.

    Starts a real Slurm of several nodes (as root, with Debian's packages: sudo slurm/cluster install), trains a small
    version of the recipe on two processes, once undisturbed and once with each disturbance, and stops the cluster. The
    exit code is 0 if all results are the same.

    Example: sudo .venv/bin/python -m tests.system.drill resnet50 --output drill
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""
    output: Path = Path("drill")
    """Folder of the runs, each replaced by the next of its name; drill.json in it holds the table."""
    only: tuple[Name, ...] = ()
    """Disturbances to try. None: all."""
    parallel: int = field(default=4, metadata={"min": 1, "max": 16})
    """Runs at a time, 1 to 16, each on its own nodes."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Train all runs, and print the table."""
        if problems := [*range_problems(self, flags=True), *_machine_problems()]:
            return refuse(problems)
        recipe = small.small(self.settings, _PROCESSES)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # to stop the cluster then too
        with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as root:
            cluster = Cluster(Path(root))
            try:
                outcomes = self._rehearse(cluster, recipe)
            except (ClusterError, DrillError) as error:
                sys.stderr.write(f"failed: {error}\n")
                return FAILED
            finally:
                cluster.stop()
        show(HEAD, [outcome.row for outcome in outcomes])
        content = [asdict(outcome) for outcome in outcomes]
        (self.output / "drill.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return FAILED if any(outcome.difference for outcome in outcomes) else 0

    def _rehearse(self, cluster: Cluster, recipe: Recipe) -> list[Outcome]:
        """Train the undisturbed run and all others, several at a time."""
        self.output.mkdir(parents=True, exist_ok=True)
        small.draw(self._images)
        self._recipe.write_text(dump(recipe), encoding="utf-8")
        cluster.start(nodes=2 * self.parallel + 2, cpus=_PROCESSES)  # two spare ones for runs whose node failed
        with ThreadPoolExecutor(self.parallel) as pool:
            whole = pool.submit(self._train, cluster, "undisturbed", None)
            ended = [pool.submit(self._train, cluster, name, DISTURBANCES[name]) for name in self.only or DISTURBANCES]
            try:
                _watch([whole, *ended])
                return [_outcome(future.result(), whole.result()) for future in ended]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                cluster.ask("scancel", "--user=root")  # functions that still wait for a run notice the end of its job
                raise

    def _train(self, cluster: Cluster, name: str, disturbance: Disturbance | None) -> "_Ended":
        output, start = self.output.absolute() / name, time.monotonic()
        shutil.rmtree(output, ignore_errors=True)
        nodes = disturbance.nodes if disturbance else 2
        data = ("--data", str(self._images), "--nodes", str(nodes), "--processes-per-node", str(_PROCESSES // nodes))
        flags = disturbance.flags if disturbance else ()
        run = submit(cluster, (str(self._recipe), *data, *_COMMON, *_ALONE, *flags), output)
        try:
            if disturbance:
                disturbance.happen(run)
            run.await_end()
            run.await_release()
        finally:
            withdraw(run)
        seconds = time.monotonic() - start
        if not self.quiet:
            sys.stderr.write(f"{name}: {seconds:.0f} s\n")
        return _Ended(name=name, text=disturbance.text if disturbance else name, run=run, seconds=seconds)

    @property
    def _images(self) -> Path:
        return self.output.absolute() / "images"

    @property
    def _recipe(self) -> Path:
        return self.output.absolute() / "recipe.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    name: str
    text: str
    run: Running
    seconds: float


def _watch(runs: Sequence[Future[_Ended]]) -> None:
    """Show which runs have ended until all have, or one has failed."""
    with counting("drill", "runs") as progress:
        progress(0, len(runs))
        for done, run in enumerate(as_completed(runs), 1):
            run.result()
            progress(done, len(runs))


def _outcome(ended: _Ended, whole: _Ended) -> Outcome:
    history = ended.run.attempts()
    return Outcome(
        name=ended.name,
        what=ended.text,
        attempts=len(history),
        steps_again=ended.run.steps_again(),
        seconds=round(ended.seconds, 1),
        difference=difference(ended.run.run, whole.run.run) if len(history) > 1 else "it had finished before",
    )


def _machine_problems() -> list[str]:
    if os.geteuid() != 0:
        return ["not root, which a cluster of network namespaces needs: put sudo before the command"]
    return []


def main(arguments: list[str]) -> int:
    """Run the drill; returns its exit code."""
    try:
        recipe = named_recipe(arguments, "drill")
    except InvalidConfigError as error:
        return refuse(error.problems)
    with plain_refusals(arguments):
        drill = tyro.cli(
            Drill,
            args=arguments,
            default=Drill(recipe=tyro.MISSING, settings=recipe),
            prog="python -m tests.system.drill",
            config=(tyro.conf.AvoidSubcommands,),
        )
    hush(drill.quiet)
    return drill.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
