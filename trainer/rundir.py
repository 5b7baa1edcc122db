"""The run directory: one recipe at one site, in one folder, over any number of restarts. Loads no torch."""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import schema
from data.catalog.listing import manifest_file
from data.durable import replace
from data.names import shown
from data.schema import NewerSchemaError
from trainer import imports, records
from trainer.checkpoint import files
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode
from trainer.recipe.recipes import dump, load

RESULT_SCHEMA = 1


class _Item:
    """An item of the directory, by its name in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: "RunDirectory", _: object) -> Path:
        return run.path / self._name


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of all that belongs to a run."""

    path: Path
    """The folder itself; TensorBoard's event files are directly in it."""

    recipe = _Item("recipe.yaml")
    """The resolved recipe; written first, so its presence makes the folder a run directory."""
    metrics = _Item("metrics.jsonl")
    """Every figure that was logged: one JSON object a line."""
    checkpoints = _Item("checkpoints")
    holder = _Item("holder.json")
    """Which process trains here now; only while a run is under way."""
    at_work = _Item("at_work")
    """Folder of notes on what each process is decoding; after a process has died, until the next start reports it."""
    weights = _Item("model.safetensors")
    """The weights that the result is of, under torchvision's or timm's names; only of a finished run."""
    result = _Item("result.json")
    """The final accuracy with its protocol; its presence makes the run finished."""
    report = _Item("report.md")
    page = _Item("report.html")
    """The report for a browser, in one file."""
    curves = _Item("curves.png")
    """The plot of the report."""
    confusion = _Item("confusion.png")
    """The confusion matrix of a run of at most 100 classes, after its last epoch."""
    confusion_table = _Item("confusion.csv")
    """The same as a table, or the most confused pairs of more classes."""
    trackers = _Item("trackers.json")
    """The ids under which trackers know the run; only of a run with `--trackers`."""
    profile = _Item("profile")
    """Folder of the traces of `--profile`."""
    evaluations = _Item("evaluations")
    """Folder of evaluations made after training, one folder each."""

    def manifest(self, split: str) -> Path:
        """The list of the images of a split."""
        return manifest_file(self.path, split)

    def problems(self, recipe: Recipe, data: Path) -> list[str]:
        """Why this recipe cannot be trained here on the images in `data`, one line each, for the user."""
        folder = self.path.resolve()
        if folder == data.resolve() or data.resolve() in folder.parents:
            return [f"--output: {self.path} lies in the images' folder {data}; name one outside it"]
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not existing.is_dir():
            return [f"--output: {existing} is a file; name a folder"]
        if not os.access(existing, os.W_OK | os.X_OK):
            return [f"--output: {existing} cannot be written to; name another folder, or change its permissions"]
        if existing != folder:
            return []
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            return [f"--output: {self.checkpoints} is a file, where the run keeps its checkpoints; remove it"]
        code = folder.glob(imports.copy("[0-9a-f]" * 64, folder).name)
        left = (self.holder, self.checkpoints, *code, *folder.glob(".*.tmp"))  # by a start that was interrupted
        foreign = {item.name for item in folder.iterdir()} - {item.name for item in left}
        if self.recipe.exists():
            return self._newer() or self._recipe_problems(recipe)
        if foreign and folder == Path.cwd():
            return ["--output: is the current folder, which holds other files; name a folder for the run"]
        return self._stray_problems()

    def make(self) -> None:
        """Make the folder.

        Raises:
            InvalidConfigError: It cannot be made at this path.
            OSError: It cannot be made now, as the disk is full.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InvalidConfigError([f"--output: {error.filename}: {error.strerror}"]) from None

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe, unless it is there, and before it the user's code that it names."""
        imports.keep(recipe, self.path)
        if not self.recipe.exists():
            write_text(self.recipe, dump(recipe))

    def finished(self) -> dict[str, Any] | None:
        """What `result.json` holds, or None for a run that is not finished.

        Raises:
            InvalidConfigError: The file is damaged, or a newer version wrote it.
        """
        if not self.result.exists():
            return None
        try:
            result = dict(schema.parse(self.result.read_text(encoding="utf-8")))
            schema.check(result.get("schema"), RESULT_SCHEMA, self.result)
            return result
        except NewerSchemaError as error:
            raise InvalidConfigError([str(error)]) from None
        except (ValueError, TypeError) as error:
            fix = f"remove it, and the command that made {self.path} writes it again"
            raise InvalidConfigError([f"{self.result}: damaged ({error}); {fix}"]) from None

    def is_cut_short(self) -> bool:
        """Whether the end of a finished run is incomplete: the page is its last file, and then the holder goes."""
        if self.holder.exists() or self.at_work.exists() or not self.page.exists() or not self.weights.exists():
            return True
        return self.page.stat().st_mtime_ns < self.result.stat().st_mtime_ns

    def clear(self) -> None:
        """Remove the temporary files of killed processes; only the process that holds the directory may."""
        for file in self.path.glob(".*.tmp"):
            with suppress(OSError):
                file.unlink()

    def guide(self, unfinished: str = "stopped, not finished: the same command goes on from here") -> str:
        """Lines for the console: the result, or what is said of a run without one, and the paths of its files."""
        result = self.finished()
        weights = [f"  weights      {self.weights}"] if self.weights.exists() else []
        lines = [
            f"finished: top-1 {result['top1']:.2f} %, top-5 {result['top5']:.2f} % on {result['images']:,} images"
            if result
            else unfinished,
            f"  report       {self.report}",
            f"  page         {self.page}",
            f"  curves       {self.curves}",
            f"  TensorBoard  tensorboard --logdir {shlex.quote(str(self.path))}",
            f"  metrics      {self.metrics}",
            f"  checkpoints  {self.checkpoints}",
            *weights,
            f"  recipe       {self.recipe}",
        ]
        return "".join(f"{shown(line)}\n" for line in lines)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of `metrics.jsonl`, as `records.lines` yields them."""
        return (record for _, record in records.lines(self.metrics))

    def _newer(self) -> list[str]:
        """Problems of files that a newer version wrote: to go on without them would lose its work."""
        try:
            self.finished()
            records.check_schemas(self.metrics)
        except InvalidConfigError as error:
            return [f"--output: {problem}" for problem in error.problems]
        except NewerSchemaError as error:
            return [f"--output: {error}"]
        checkpoints = files.newer(self.checkpoints)
        return [f"--output: {checkpoints}"] if checkpoints else []

    def _stray_problems(self) -> list[str]:
        """Items in a folder that is no run directory yet which would be mixed up with the run's."""
        if others := sorted(item.parent.name for item in self.path.glob("*/recipe.yaml"))[:4]:
            return [f"--output: {self.path} holds other runs ({', '.join(others)}); name a folder for this one in it"]
        ours = (self.metrics, self.checkpoints, self.result)  # a start that was interrupted leaves an empty folder
        strays = [item.name for item in ours if (any(item.iterdir()) if item.is_dir() else item.exists())]
        fix = "name another folder or clear this one"
        return [f"--output: {self.path} holds {', '.join(strays)} but no recipe.yaml; {fix}"] if strays else []

    def _recipe_problems(self, recipe: Recipe) -> list[str]:
        try:
            stored = load(str(self.recipe))
        except InvalidConfigError as error:
            return [f"--output: {self.path} holds a damaged run: {problem}" for problem in error.problems]
        changed = differences(encode(stored), encode(recipe))
        if not changed:
            return []
        lines = "".join(f"\n      {path}: {_show(old)} there, {_show(new)} asked for" for path, old, new in changed[:8])
        more = f"\n      and {len(changed) - 8} more" if len(changed) > 8 else ""
        copies = " ".join(f"--import {shlex.quote(str(imports.copy(one, self.path)))}" for one in stored.code or ())
        moved = copies and stored.code != recipe.code
        kept = f"\n    the code that it was begun with is kept there: {copies}" if moved else ""
        if [path for path, _, _ in changed] == ["code"]:
            fix = "\n    only a file of --import differs: edited, added or left out"
            fix += "\n    to train with it as it is now, name another --output"
            return [f"--output: {self.path} holds a run of another recipe{lines}{fix}{kept}"]
        fix = "\n    name another --output, or give the values that are there to continue that run"
        fix += f"\n    to train that network on, name another --output, and --init.weights {self.path}"
        fix += f"{kept}\n    --smoke shortens a recipe: such a run needs a folder of its own"
        if [item.name for item in self.path.iterdir()] == [self.recipe.name]:  # as where its images were refused
            fix = "\n    nothing has been trained there: remove that folder, or name another --output"
        return [f"--output: {self.path} holds a run of another recipe{lines}{more}{fix}"]


def write_text(file: Path, text: str) -> None:
    """Write a file atomically, and flush it to the disk."""
    replace(file, text.encode(), flushed=True)


def _show(value: Any) -> str:
    return "unset" if value is None else str(value)
