"""`provenet status`: the state of every run below a folder. Loads no torch."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from data.schema import NewerSchemaError
from launch import status_table
from launch.progress import Progress, progress
from launch.run_state import RunState, Snapshot, State, job_states, read, settled, state_of
from launch.scheduler import JobState
from launch.status_table import Board, Row
from trainer import hangs
from trainer.exits import refuse
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory
from trainer.terminal import age

DEPTH = 4
WATCH_S = 5.0

Recipes = dict[bytes, Recipe]  # by the text of their files

_IDLE = ("not running", "lost", "stopped", "cancelled", "waiting", "queued")  # no process is left
_SILENT_S = 15 * 60.0  # longer than an epoch's evaluation or a compilation takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Show the state of every run below a folder, one a line, from the run directories and from Slurm.

    Looks four folders deep, but neither into run directories nor through links nor into hidden folders.

    Example: provenet status runs --watch 10
    """

    root: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[ROOT]")] = None
    """Folder of run directories, or one of them. None: `runs` where there is one, else the current folder."""
    watch: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="[SECONDS]")] = field(
        default=None, metadata={"min": 1, "max": 3600}
    )
    """Show it again every SECONDS until Ctrl-C; without a number, every 5."""
    json: bool = False
    """Print a JSON array, an object for each run, and nothing else."""

    def run(self) -> int:
        """Show the runs, once or until Ctrl-C."""
        root = self.root or (Path("runs") if Path("runs").is_dir() else Path())
        if problems := self._problems(root):
            return refuse(problems)
        recipes: Recipes = {}
        if self.watch is not None:
            return status_table.watch(lambda: collect(root, recipes), self.watch[0] if self.watch else WATCH_S)
        status_table.show(collect(root, recipes), as_json=self.json)
        return 0

    def _problems(self, root: Path) -> list[str]:
        problems = range_problems(self, flags=True)
        if not root.is_dir():
            problems.append(f"ROOT: {root} {'is a file; name a folder' if root.exists() else 'does not exist'}")
        if self.watch is None:
            return problems
        if len(self.watch) > 1:
            problems.append(f"--watch: {len(self.watch)} numbers; give one, or none")
        if self.json:
            problems.append("--watch: never ends, and --json prints one array; choose one")
        elif not sys.stdout.isatty():
            problems.append("--watch: needs a terminal, and the output is none; leave it out, or use --json in a loop")
        return problems


def collect(root: Path, recipes: Recipes) -> Board:
    """The states of all runs below a folder; `recipes` keeps those that were read, as many runs share one."""
    unreadable: list[Path] = []
    seen = {run: _read(run) for run in sorted(_runs(root, DEPTH, unreadable))}
    open_ = [one for one in seen.values() if isinstance(one, Snapshot) and settled(one) is None]
    jobs = job_states(open_)
    rows = [_row(RunDirectory(run), str(run.relative_to(root)), seen[run], jobs, recipes) for run in seen]
    slurms = [jobs[one.path] for one in open_ if one.submission and one.submission.kind == "slurm"]
    unknown = sorted({f"state unknown: {job.reason}" for job in slurms if not job.is_known})
    closed = [f"{len(unreadable)} folders cannot be read: {unreadable[0]} ..."] if unreadable else []
    return Board(root, rows, [*unknown, *closed])


def _runs(folder: Path, depth: int, unreadable: list[Path]) -> Iterator[Path]:
    """Run directories; what cannot be read is added to `unreadable`."""
    try:
        with os.scandir(folder) as entries:
            is_folder = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        unreadable.append(folder)
        return
    if is_folder.get("recipe.yaml") is False:
        yield folder
        return
    for name in is_folder:
        if is_folder[name] and depth > 0 and not name.startswith("."):
            yield from _runs(folder / name, depth - 1, unreadable)


def _read(run: Path) -> Snapshot | str:
    """What the run directory holds, or why it cannot be read."""
    try:
        return read(RunDirectory(run))
    except (ValueError, OSError, RecursionError) as error:
        return str(error)


def _row(run: RunDirectory, name: str, seen: Snapshot | str, jobs: dict[Path, JobState], recipes: Recipes) -> Row:
    now = RunState("unknown", seen) if isinstance(seen, str) else settled(seen) or state_of(seen, jobs[seen.path])
    far, recipe, trouble = _progress(run, None if now.state == "finished" else recipes)
    submission = None if isinstance(seen, str) else seen.submission
    is_running = now.state == "running"
    last = None if isinstance(seen, str) or not is_running else seen.last
    starts = f"starting from step {last.step:,}" if last and not last.end and (far.updated or 0) < last.time else ""
    ended = far.diverged if now.state in _IDLE and not submission else None  # of a job the reason says it
    return Row(
        run=name,
        state=now.state,
        job=submission.job if submission else None,
        progress=replace(far, epochs=recipe.epochs) if recipe else far,
        restarts=None if isinstance(seen, str) or not submission else max(len(seen.attempts) - 1, 0),
        eta_s=_eta_s(far, recipe) if is_running and not starts else None,
        note="; ".join(
            filter(None, (trouble, starts, ended, now.note, _deaths(run, now.state), *_waits(run, far, now.state)))
        ),
    )


def _progress(run: RunDirectory, recipes: Recipes | None) -> tuple[Progress, Recipe | None, str]:
    """How far the run is, its recipe if wanted, and why one of them cannot be read."""
    far = Progress()
    try:
        far = progress(run.metrics)
        return far, None if recipes is None else _recipe(run.recipe, recipes), ""
    except InvalidConfigError as error:
        return far, None, error.problems[0]
    except (OSError, NewerSchemaError) as error:
        return far, None, str(error)


def _recipe(file: Path, recipes: Recipes) -> Recipe:
    text = file.read_bytes()
    if text not in recipes:  # parsing it takes longer than all else of a run
        recipes[text] = load(str(file))
    return recipes[text]


def _eta_s(far: Progress, recipe: Recipe | None) -> float | None:
    if recipe is None or far.step is None or not far.total_steps or not far.images_per_s:
        return None
    return max(far.total_steps - far.step, 0) * recipe.global_batch / far.images_per_s


def _deaths(run: RunDirectory, state: State) -> str:
    """Which processes ended without cleaning up, where none can be running now."""
    if state not in _IDLE or not run.at_work.exists():
        return ""
    from trainer import at_work  # loads numpy

    return at_work.summary(at_work.deaths(run))


def _waits(run: RunDirectory, far: Progress, state: State) -> tuple[str, ...]:
    """For which processes of a running run the others wait, and that it has written nothing for long."""
    silent_s = time.time() - far.updated if far.updated else 0.0
    if state != "running":
        return ()
    return (
        hangs.straggler(run, *far.slow) if far.slow else "",
        f"no new record for {age(silent_s)}" if silent_s > _SILENT_S else "",
        hangs.summary(run) if silent_s > hangs.STILL_S else "",
    )
