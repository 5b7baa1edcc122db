"""Experiment trackers beside TensorBoard, by Accelerate's names. Rank 0 only.

A tracker that fails is dropped with a message: a service that is away must not end a run of days.
"""

import json
from collections.abc import Mapping
from typing import Any

from data import schema
from data.names import shown
from trainer.context import RunContext
from trainer.exits import RunEndedError
from trainer.recipe.config import Recipe
from trainer.recipe.decode import encode, leaves
from trainer.rundir import write_text

PROJECT = "provenet"
_IDENTITY = {"wandb": "id", "mlflow": "run_id"}  # their arguments for the id of a run to continue


class TrackerError(RunEndedError):
    """A tracker cannot be opened; the message says which, and why."""


class Trackers:
    """The trackers that the site asks for."""

    def __init__(self, context: RunContext) -> None:
        """Open them; wandb and mlflow continue the run of an earlier start.

        Raises:
            TrackerError: One cannot be opened.
        """
        self._say, self._file = context.console.say, context.run.trackers
        known = schema.parse(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        self._open: dict[str, Any] = {}
        for name in context.site.trackers:
            options = _options(name, context, known.get(name))
            try:
                tracker = context.runtime.open_tracker(name, PROJECT, context.run.path, options)
                tracker.store_init_configuration(settings(context.recipe))
            except Exception as error:  # each package has its own kinds
                self.close()
                raise TrackerError(f"--trackers {name}: {_first_line(error)}; leave it out to train without") from error
            self._open[name] = tracker
        if ids := {name: run for name, tracker in self._open.items() if (run := _identity(name, tracker))}:
            write_text(self._file, json.dumps(known | ids) + "\n")

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, tracker in list(self._open.items()):
            try:
                tracker.log(dict(values), step=step)
            except Exception as error:  # as above
                self._say(f"--trackers {name} is left out from here on: {_first_line(error)}")
                del self._open[name]

    def close(self) -> None:
        for name, tracker in self._open.items():
            try:
                tracker.finish()
            except Exception as error:  # as above
                self._say(f"--trackers {name}: {_first_line(error)}")
        self._open = {}


def settings(recipe: Recipe) -> dict[str, bool | float | str]:
    """Every setting by its dotted name, lists as text: by these TensorBoard and trackers compare runs."""
    values = leaves(encode(recipe)).items()
    texts = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in values}
    return {name: shown(value) if isinstance(value, str) else value for name, value in texts.items()}


def _options(name: str, context: RunContext, known: str | None) -> dict[str, Any]:
    """Arguments of a tracker's class; `known`: the id of the run to continue."""
    title, folder = context.run.path.resolve().name, str(context.run.path)
    options: dict[str, dict[str, Any]] = {
        "wandb": {"name": title, "dir": folder, **({"resume": "allow"} if known else {})},
        "mlflow": {} if known else {"run_name": title},
    }
    identity = {_IDENTITY[name]: known} if known else {}
    return {**options.get(name, {}), **identity}


def _identity(name: str, tracker: Any) -> str | None:
    match name:
        case "wandb":
            return tracker.tracker.id
        case "mlflow":
            return tracker.tracker.info.run_id
        case _:
            return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
