"""Speeds that `provenet doctor --json` measured of one process. Standard library only."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.plan import published
from launch.plan.config import PlanConfig
from launch.plan.step_time import Speeds
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode

_DECISIVE = ("model.name", "input.train_size", "micro_batch", "precision")  # on which a rate depends


@dataclass(frozen=True, slots=True)
class Measured:
    """What `provenet doctor --json` wrote to a file."""

    file: Path
    figures: dict[str, Any]
    recipe: dict[str, Any]
    """The recipe that was measured, encoded."""

    def problems(self, recipe: Recipe) -> list[str]:
        """Why these figures do not apply to this recipe."""
        processes = self.figures["place"]["world_size"]
        several = f"--measured: {self.file} is of {processes} processes; measure one, and the plan adds the others"
        return [
            f"--measured: {self.file} is of {path} {theirs}, and this recipe has {ours}; measure this one"
            for path, theirs, ours in differences(self.recipe, encode(recipe))
            if path in _DECISIVE
        ] + [several] * (processes != 1)

    def speeds(self, config: PlanConfig, recipe: Recipe) -> tuple[Speeds, list[str]]:
        """The rates of one process, and their sources as lines of text."""
        saving, place = self.figures["saving"], self.figures["place"]
        speeds = Speeds(
            images_per_s=1 / self.figures["step"]["seconds"],
            core_images_per_s=1 / self.figures["load"]["cpu_s"],
            link_gb_s=published.link_gb_s(config),
            stall_bytes_per_s=saving["bytes"] / saving["hold_s"] if saving else published.STALL,
            write_bytes_per_s=saving["bytes"] / saving["write_s"] if saving else published.WRITE,
        )
        others = [path for path, *_ in differences(self.recipe, encode(recipe))]
        return speeds, [
            f"measured ({self.file}): one process with {'a GPU' if place['gpu'] else 'no GPU'} and {place['threads']} "
            "CPU threads, which the table takes for one GPU",
            f"one GPU: {speeds.images_per_s:,.1f} images/s, without waiting for a loader",
            f"one CPU core: {speeds.core_images_per_s:,.0f} images/s, by {place['backend']}",
            f"checkpoint: copied at {speeds.stall_bytes_per_s / 1e9:.2f} GB/s, written at "
            f"{speeds.write_bytes_per_s / 1e9:.2f} GB/s{'' if saving else ' (README: none was measured)'}",
            *([f"measured with other values of {', '.join(others)}"] if others else []),
        ]


def read(file: Path) -> Measured:
    """Read a doctor's file.

    Raises:
        InvalidConfigError: It cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        measured = Measured(file, content["figures"], {**content["recipe"]})
        measured.speeds(PlanConfig(), Recipe())
        measured.problems(Recipe())
    except OSError as error:
        raise InvalidConfigError([f"--measured: {file}: {error.strerror}"]) from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        expected = "it is not what this version's provenet doctor --json writes"
        raise InvalidConfigError([f"--measured: {file}: {expected} ({type(error).__name__}: {error})"]) from None
    return measured
