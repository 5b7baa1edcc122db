"""The run directory: one recipe at one site, in one folder, over any number of restarts. Standard library only."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import schema
from data.catalog.listing import manifest_file
from data.durable import replace
from data.schema import NewerSchemaError
from trainer.checkpoint import files
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode
from trainer.recipe.recipes import dump, load

RESULT_SCHEMA = 1
METRICS_SCHEMA = 1
"""Which each `start` record holds: versions may take turns in writing a run."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where everything of a run lies."""

    path: Path
    """The folder itself; TensorBoard's event files lie directly in it."""

    @property
    def recipe(self) -> Path:
        """The resolved recipe; written first, so its presence makes the folder a run directory."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: every number that was logged."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def holder(self) -> Path:
        """Which process trains here now; of a run that is under way only."""
        return self.path / "holder.json"

    @property
    def at_work(self) -> Path:
        """Folder of what each process was decoding; after a process has died, until the next start tells of it."""
        return self.path / "at_work"

    @property
    def weights(self) -> Path:
        """The weights that the result is of, under torchvision's or timm's names; of a finished run only."""
        return self.path / "model.safetensors"

    @property
    def result(self) -> Path:
        """The final accuracy with its protocol; written last, so its presence makes the run finished."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.path / "report.md"

    @property
    def page(self) -> Path:
        """The same for a browser, in one file."""
        return self.path / "report.html"

    @property
    def curves(self) -> Path:
        """The report's plot."""
        return self.path / "curves.png"

    @property
    def trackers(self) -> Path:
        """The numbers under which trackers know the run; of a run with `--trackers` only."""
        return self.path / "trackers.json"

    @property
    def profile(self) -> Path:
        """Folder of the traces of `--profile`."""
        return self.path / "profile"

    @property
    def evaluations(self) -> Path:
        """Folder of evaluations made after training, one folder each."""
        return self.path / "evaluations"

    def manifest(self, split: str) -> Path:
        """The list of images this run uses."""
        return manifest_file(self.path, split)

    def problems(self, recipe: Recipe, data: Path) -> list[str]:
        """Why this recipe cannot be run here on the images in `data`, one line each, for the user."""
        folder = self.path.resolve()
        if folder == data.resolve() or data.resolve() in folder.parents:
            return [f"--output: {self.path} lies in the images' folder {data}; name one outside it"]
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir():
            return [f"--output: {existing} is a file; name a folder"]
        if not os.access(existing, os.W_OK | os.X_OK):
            return [f"--output: {existing} cannot be written to; name another folder, or change its permissions"]
        if existing != folder:
            return []
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            return [f"--output: {self.checkpoints} is a file, where the run keeps its checkpoints; remove it"]
        if folder == Path.cwd() and not self.recipe.exists() and any(folder.iterdir()):
            return ["--output: is the current folder, which holds other files; name a folder for the run"]
        if not self.recipe.exists():
            return self._stray_problems()
        return self._newer() or self._recipe_problems(recipe)

    def make(self) -> None:
        """Make the folder."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe, unless it is there."""
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
            found = dict(json.loads(self.result.read_text(encoding="utf-8")))
            schema.check(found.get("schema"), RESULT_SCHEMA, self.result)
            return found
        except NewerSchemaError as error:
            raise InvalidConfigError([str(error)]) from None
        except (ValueError, TypeError) as error:
            mend = f"remove it, and the command that made {self.path} makes it anew"
            raise InvalidConfigError([f"{self.result}: damaged ({error}); {mend}"]) from None

    def guide(self) -> str:
        """How the run stands, where everything of it lies and how to open it: lines for the console."""
        result = self.finished()
        weights = [f"  weights      {self.weights}"] if self.weights.exists() else []
        lines = [
            f"finished: top-1 {result['top1']:.2f} %, top-5 {result['top5']:.2f} % on {result['images']:,} images"
            if result
            else "stopped, not finished: the same command goes on from here",
            f"  report       {self.report}",
            f"  page         {self.page}",
            f"  curves       {self.curves}",
            f"  TensorBoard  tensorboard --logdir {self.path}",
            f"  metrics      {self.metrics}",
            f"  checkpoints  {self.checkpoints}",
            *weights,
            f"  recipe       {self.recipe}",
        ]
        return "\n".join(lines) + "\n"

    def records(self) -> list[dict[str, Any]]:
        """What `metrics.jsonl` holds; a last line that a kill cut short is left out, and damage with a word.

        Raises:
            InvalidConfigError: A newer version wrote it.
        """
        if not self.metrics.exists():
            return []
        records: list[dict[str, Any]] = []
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                schema.check(record.get("schema"), METRICS_SCHEMA, self.metrics)
                records.append({"kind": record["kind"], "step": record["step"], **record})
            except NewerSchemaError as error:
                raise InvalidConfigError([str(error)]) from None
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                _log.warning("%s: line %d is damaged and passed over: %r", self.metrics, number, error)
        return records

    def _newer(self) -> list[str]:
        """Files that a newer version wrote: to go on without them would lose what it did."""
        try:
            self.finished()
            for number in self._schemas():
                schema.check(number, METRICS_SCHEMA, self.metrics)
        except InvalidConfigError as error:
            return [f"--output: {problem}" for problem in error.problems]
        except NewerSchemaError as error:
            return [f"--output: {error}"]
        checkpoints = files.newer(self.checkpoints)
        return [f"--output: {checkpoints}"] if checkpoints else []

    def _schemas(self) -> Iterator[object]:
        """Of all `start` records; the many others are not read closely, and damage is passed over."""
        if not self.metrics.exists():
            return
        with self.metrics.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError):
                    if line.startswith('{"kind": "start"'):
                        yield json.loads(line).get("schema")

    def _stray_problems(self) -> list[str]:
        """What lies in a folder that is no run directory yet and would be mixed up with the run's."""
        if others := sorted(item.parent.name for item in self.path.glob("*/recipe.yaml"))[:4]:
            return [f"--output: {self.path} holds other runs ({', '.join(others)}); name a folder for this one in it"]
        parts = (self.metrics, self.checkpoints, self.result)  # a start that was cut short leaves an empty folder
        strays = [item.name for item in parts if (any(item.iterdir()) if item.is_dir() else item.exists())]
        mend = "name another folder or clear this one"
        return [f"--output: {self.path} holds {', '.join(strays)} but no recipe.yaml; {mend}"] if strays else []

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
        mend = "\n    name another --output, or give the values that are there to go on with that run"
        mend += "\n    --smoke shortens a recipe: such a run has a folder of its own"
        return [f"--output: {self.path} holds a run of another recipe{lines}{more}{mend}"]


def write_text(file: Path, text: str) -> None:
    """Write a file, all or nothing, also where the power fails."""
    replace(file, text.encode(), flushed=True)


def _show(value: Any) -> str:
    return "unset" if value is None else str(value)
