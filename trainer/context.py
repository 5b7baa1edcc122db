"""The inputs of a run, before anything is built."""

from dataclasses import dataclass

from trainer.console import Console
from trainer.recipe.config import Recipe, SiteConfig
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.stopping import StopFlag


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One recipe at one site."""

    recipe: Recipe
    site: SiteConfig
    stop: StopFlag
    console: Console

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.site.output)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext(Setting):
    """The same in this process among the others."""

    runtime: Runtime

    def should_stop(self) -> bool:
        """Whether any process was asked to stop (collective)."""
        return self.runtime.any(self.stop.is_set)
