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

_DECISIVE = ("model.name", "input.train_size", "micro_batch", "precision")  # without which a rate is another's


@dataclass(frozen=True, slots=True)
class Measured:
    """A doctor's file."""

    file: Path
    figures: dict[str, Any]
    recipe: dict[str, Any]
    """The recipe that was measured, encoded."""

    def problems(self, recipe: Recipe) -> list[str]:
        """Why these figures say nothing of this recipe."""
        found = [
            f"--measured: {self.file} is of {path} {theirs}, and this recipe has {ours}; measure this one"
            for path, theirs, ours in differences(self.recipe, encode(recipe))
            if path in _DECISIVE
        ]
        if (processes := self.figures["place"]["world_size"]) != 1:
            found.append(
                f"--measured: {self.file} is of {processes} processes; measure one, and the plan adds the others"
            )
        return found

    def speeds(self, config: PlanConfig, recipe: Recipe) -> tuple[Speeds, list[str]]:
        """What one process does, and how that was found."""
        step_s, core_s = self.figures["step"]["seconds"], self.figures["load"]["cpu_s"]
        saving, place = self.figures["saving"], self.figures["place"]
        stall, write = (saving["bytes"] / saving[name] if saving else None for name in ("hold_s", "write_s"))
        found = Speeds(
            images_per_s=1 / step_s,
            core_images_per_s=1 / core_s,
            link_gb_s=published.link_gb_s(config),
            stall_bytes_per_s=stall or published.STALL,
            write_bytes_per_s=write or published.WRITE,
        )
        others = [path for path, *_ in differences(self.recipe, encode(recipe))]
        return found, [
            f"measured ({self.file}): one process with {'a GPU' if place['gpu'] else 'no GPU'} and {place['threads']} "
            "CPU threads is what a GPU of the table does",
            f"one GPU: {found.images_per_s:,.1f} images/s, a step on a batch that is there",
            f"one CPU core: {found.core_images_per_s:,.0f} images/s, by {place['backend']}",
            f"checkpoint: copied at {found.stall_bytes_per_s / 1e9:.2f} GB/s, written at "
            f"{found.write_bytes_per_s / 1e9:.2f} GB/s{'' if saving else ' (README: none was measured)'}",
            *([f"measured with other values of {', '.join(others)}"] if others else []),
        ]


def read(file: Path) -> Measured:
    """Read a doctor's file.

    Raises:
        InvalidConfigError: It cannot be read, or is no such file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = Measured(file, content["figures"], {**content["recipe"]})
        found.speeds(PlanConfig(), Recipe())
        found.problems(Recipe())
    except OSError as error:
        raise InvalidConfigError([f"--measured: {file}: {error.strerror}"]) from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        mend = "it is not what this version's provenet doctor --json writes"
        raise InvalidConfigError([f"--measured: {file}: {mend} ({type(error).__name__}: {error})"]) from None
    return found
