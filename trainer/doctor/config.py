"""What `provenet doctor` can be told. Standard library only."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from trainer.config import SiteConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorConfig:
    """How long it looks."""

    seconds: float = field(default=60.0, metadata={"min": 1, "max": 3600})
    """About how many seconds it measures, 1 to 3,600; a network whose step takes seconds makes it more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorSite(SiteConfig):
    """Where the run would be, with `train`'s own settings; nothing is written to it."""

    # wider than a run's, which has to have both; `placed` makes a run's of it
    data: Path | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Folder of the image tree, as of `train`. None: images of ImageNet's sizes are drawn, smaller for small crops."""
    output: Path | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Run directory, on whose disk checkpoints are tried, beside it. None: the disk of temporary files."""

    def placed(self, data: Path, output: Path) -> SiteConfig:
        """A run's settings at these places."""
        own: dict[str, Any] = {setting.name: getattr(self, setting.name) for setting in fields(SiteConfig)}
        own.update(data=data, output=output)
        return SiteConfig(**own)
