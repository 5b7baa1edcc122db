"""`provenet array`: its flags and refusals. Loads submitit only to submit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from launch import enqueue, run_state, site_file
from launch.array import results, sweep
from launch.array.sweep import Task
from launch.commands.submit import CLUSTER, NOWHERE
from launch.enqueue import Wanted
from launch.job import Sweep
from launch.site import ClusterConfig
from trainer import imports, preflight
from trainer.commands.parsing import Imports
from trainer.exits import refuse
from trainer.recipe.config import SiteConfig
from trainer.recipe.decode import range_problems
from trainer.rundir import RunDirectory
from trainer.terminal import show, write


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """Queue the runs of a sweep as one job array; each has its folder in --output and is restarted on its own.

    SWEEP is a YAML file with a `recipe` and, by dotted field, a `grid` of values or a `list` of settings; `seed` is a
    field like any other, and no field is a flag here. The same command again skips what is finished, queued or running.
    summary.md in --output holds mean and spread over seeds, and is updated when a run finishes.

    Example: provenet array lr.yaml --data /imagenet --output runs/lr --gpus-per-node 8 --hours 12 --parallel 4
    """

    sweep: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP")]
    """YAML file."""
    cluster: Annotated[ClusterConfig, *CLUSTER]
    """What each run asks of the cluster."""
    site: tyro.conf.OmitArgPrefixes[SiteConfig]
    """Where they run; --output is the folder of the run directories."""
    imports: Imports = ()
    parallel: int = field(default=16, metadata={"min": 1, "max": 10_000})
    """Runs at a time."""
    summary: bool = False
    """Queue nothing: print mean and spread over seeds of the finished runs."""
    dry_run: bool = False
    """Queue nothing: print the names of the runs that would be queued."""

    def run(self) -> int:
        """Check every run, then queue those that are neither finished nor queued."""
        if not self.sweep.exists():
            return refuse([f"SWEEP: {self.sweep} does not exist"])
        tasks = sweep.load(self.sweep)
        if self.summary:
            return self._summarize(tasks)
        wanted = {task.name: self._wanted(task) for task in tasks}
        if problems := [*range_problems(self, flags=True), *_problems(wanted)]:
            return refuse(problems)
        idle = self._idle(tasks)
        write(f"{len(tasks)} runs, {len(tasks) - len(idle)} of them finished, running or queued\n")
        if self.dry_run:
            write("".join(f"  {name}\n" for name in idle))
            return 0
        if not idle:
            return self._summarize(tasks)
        together = Sweep(root=self._root, parallel=self.parallel, local=self.cluster.cluster == "local")
        return enqueue.submit([wanted[name] for name in idle], together, tasks)

    @property
    def _root(self) -> Path:
        return self.site.output.absolute()

    def _wanted(self, task: Task) -> Wanted:
        site = replace(self.site, output=self._root / task.name)
        recipe = imports.resolved(task.recipe, self.imports, site.output)
        return Wanted(recipe=preflight.adopted(recipe, site), site=site, cluster=self.cluster)

    def _idle(self, tasks: Sequence[Task]) -> list[str]:
        """Runs that are neither finished nor queued nor running."""
        seen = {task.name: run_state.read(RunDirectory(self._root / task.name)) for task in tasks}
        open_ = {name: one for name, one in seen.items() if not one.finished}
        jobs = enqueue.live_jobs(list(open_.values()), self.cluster)
        return [name for name, one in open_.items() if one.path not in jobs]

    def _summarize(self, tasks: Sequence[Task]) -> int:
        rows, note = results.summarize(self._root, tasks)
        show(results.HEAD, rows)
        write(f"{note}\n")
        return 0


def default(words: Sequence[str]) -> Array:
    """The flags' defaults; the folders have none."""
    return Array(sweep=tyro.MISSING, cluster=site_file.defaults(words), site=NOWHERE)


def _problems(wanted: dict[str, Wanted]) -> list[str]:
    """The problems of all runs; one that all have is listed once."""
    problems = [(name, problem) for name, one in wanted.items() for problem in enqueue.problems(one)]
    counts = Counter(problem for _, problem in problems)
    texts = (problem if counts[problem] == len(wanted) else f"{name}: {problem}" for name, problem in problems)
    return list(dict.fromkeys(texts))
