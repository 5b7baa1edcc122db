"""`provenet status`: every run below a folder, in a line each. Loads no torch."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from data.schema import NewerSchemaError
from launch import status_table
from launch.progress import Progress, progress
from launch.run_state import Evidence, Standing, State, job_states, read, settled, standing
from launch.scheduler import JobState
from launch.status_table import Board, Row
from trainer.exits import refuse
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory
from trainer.terminal import age, until_reader_leaves

DEPTH = 4
WATCH_S = 5.0

_IDLE = ("not running", "lost", "stopped", "cancelled", "waiting", "queued")  # what lies there is of a dead process
_QUIET_S = 15 * 60.0  # without a record: longer than an epoch's evaluation or a compilation takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Show how every run below a folder stands: a line each, from the run directories and from Slurm.

    Looks four folders deep, but neither into run directories nor through links nor into hidden folders.

    Example: provenet status runs --watch 10
    """

    root: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[ROOT]")] = None
    """Folder of run directories, or one of them. None: `runs` where there is one, else the current folder."""
    watch: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="[SECONDS]")] = field(
        default=None, metadata={"min": 1, "max": 3600}
    )
    """Show it anew every so many seconds, 1 to 3,600, until Ctrl-C; 5 where none are given."""
    json: bool = False
    """Print a JSON array, an object for each run, and nothing else."""

    def run(self) -> int:
        """Show the runs, once or until Ctrl-C."""
        return until_reader_leaves(self._run)

    def _run(self) -> int:
        root = self.root or (Path("runs") if Path("runs").is_dir() else Path())
        if problems := self._problems(root):
            return refuse(problems)
        recipes = Recipes()
        if self.watch is not None:
            return status_table.watch(lambda: collect(root, recipes), self.watch[0] if self.watch else WATCH_S)
        found = collect(root, recipes)
        if self.json:
            status_table.show_json(found)
        else:
            status_table.show(found)
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
            problems.append("--watch: goes on for ever, and --json prints one array; choose one")
        elif not sys.stdout.isatty():
            problems.append(
                "--watch: redraws a terminal, and the output is none; leave it out, or use --json in a loop"
            )
        return problems


class Recipes:
    """Recipes read so far: reading one takes longer than all else of a run, and many runs share one."""

    def __init__(self) -> None:
        """None so far."""
        self._known: dict[bytes, Recipe] = {}

    def read(self, file: Path) -> Recipe:
        """Read one.

        Raises:
            InvalidConfigError: It is damaged.
            OSError: It cannot be read.
        """
        text = file.read_bytes()
        if text not in self._known:
            self._known[text] = load(str(file))
        return self._known[text]


def collect(root: Path, recipes: Recipes) -> Board:
    """How all the runs below a folder stand now."""
    unreadable: list[Path] = []
    runs = sorted(_runs(root, DEPTH, unreadable))
    seen = {run: _look(run) for run in runs}
    open_ = [found for found in seen.values() if isinstance(found, Evidence) and settled(found) is None]
    states = job_states(open_)
    rows = [_row(run, root, seen[run], states, recipes) for run in runs]
    slurms = [states[one.path] for one in open_ if one.submission and one.submission.kind == "slurm"]
    silence = sorted({f"state unknown: {state.reason}" for state in slurms if not state.is_known})
    closed = [f"{len(unreadable)} folders cannot be read: {unreadable[0]} ..."] if unreadable else []
    return Board(root, rows, [*silence, *closed])


def _runs(folder: Path, depth: int, unreadable: list[Path]) -> Iterator[Path]:
    """Run directories; what cannot be read is added to `unreadable`."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        unreadable.append(folder)
        return
    if found.get("recipe.yaml") is False:
        yield folder
        return
    for name, is_folder in found.items():
        if is_folder and depth > 0 and not name.startswith("."):
            yield from _runs(folder / name, depth - 1, unreadable)


def _look(run: Path) -> Evidence | str:
    """What the run directory shows, or why that cannot be told."""
    try:
        return read(RunDirectory(run))
    except (ValueError, OSError, RecursionError) as error:
        return str(error)


def _row(run: Path, root: Path, seen: Evidence | str, states: dict[Path, JobState], recipes: Recipes) -> Row:
    stands = Standing("unknown", seen) if isinstance(seen, str) else settled(seen) or standing(seen, states[seen.path])
    far, recipe, trouble = _progress(RunDirectory(run), None if stands.state == "finished" else recipes)
    submission = None if isinstance(seen, str) else seen.submission
    at_work = stands.state == "running"
    return Row(
        run=str(run.relative_to(root)),
        state=stands.state,
        job=submission.job if submission else None,
        step=far.step,
        total_steps=far.total_steps,
        epoch=far.epoch,
        epochs=recipe.epochs if recipe else far.epochs,
        top1=far.top1,
        images_per_s=far.images_per_s,
        restarts=None if isinstance(seen, str) or not submission else max(len(seen.attempts) - 1, 0),
        eta_s=_eta_s(far, recipe) if at_work else None,
        note="; ".join(filter(None, (trouble, stands.note, _died(run, stands.state), _quiet(far) if at_work else ""))),
    )


def _progress(run: RunDirectory, recipes: Recipes | None) -> tuple[Progress, Recipe | None, str]:
    """How far the run is, its recipe if wanted, and what of both cannot be read."""
    far = Progress()
    try:
        far = progress(run.metrics)
        return far, recipes.read(run.recipe) if recipes else None, ""
    except InvalidConfigError as error:
        return far, None, error.problems[0]
    except (OSError, NewerSchemaError) as error:
        return far, None, str(error)


def _eta_s(far: Progress, recipe: Recipe | None) -> float | None:
    if recipe is None or far.step is None or not far.total_steps or not far.images_per_s:
        return None
    return max(far.total_steps - far.step, 0) * recipe.global_batch / far.images_per_s


def _died(run: Path, state: State) -> str:
    """A word on processes that left without one."""
    if state not in _IDLE or not RunDirectory(run).at_work.exists():
        return ""
    from trainer import at_work  # loads numpy

    return at_work.summary(at_work.deaths(RunDirectory(run)))


def _quiet(far: Progress) -> str:
    """A word on a run that works but has not written for long: hung, or waiting for a file system."""
    silent_s = time.time() - far.updated if far.updated else 0.0
    return f"no new record for {age(silent_s)}" if silent_s > _QUIET_S else ""
