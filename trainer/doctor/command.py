"""`provenet doctor`: its flags and its refusals. Loads torch only to measure."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from trainer import network, preflight
from trainer.config import Recipe, SiteConfig
from trainer.cpu import rest_at_barriers
from trainer.decode import range_problems
from trainer.doctor import report
from trainer.doctor.config import DoctorConfig, DoctorSite
from trainer.exits import refuse
from trainer.world import World

if TYPE_CHECKING:
    from trainer.doctor.session import Visit


@dataclass(frozen=True, kw_only=True, slots=True)
class Doctor:
    """Say what bounds a run on this machine, by how much, and which setting to change.

    RECIPE and all flags are those of `train`, so that the same line with another verb tells of the same run. Loader,
    step, both, evaluation, a checkpoint and, started as `train` is on several processes, the sum of the gradients are
    measured for about a minute; then other settings, of which the first that helps is tried. Nothing is trained, and
    nothing is written but to a folder beside the run directory, which is removed.

    Example: provenet doctor resnet50 --data /imagenet --output runs/r50 --threads 4
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    site: tyro.conf.OmitArgPrefixes[DoctorSite]
    """Where the run would be."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What would be learned."""
    patience: tyro.conf.OmitArgPrefixes[DoctorConfig]
    """How long it looks."""
    trial: Annotated[bool, tyro.conf.arg(name="try")] = True
    """Try the first advice that can be tried on the spot, and show what it gives beside what was predicted."""
    json: Path | None = None
    """Also write all figures to this file."""

    def run(self, world: World) -> int:
        """Measure and say.

        Returns:
            Exit code.
        """
        if problems := self._problems(world):
            return refuse(problems, world)
        rest_at_barriers()
        from trainer.build import device_problems, loader_problems, network_problems
        from trainer.doctor.session import Wish, visit
        from trainer.failures import told

        settings, site = self.settings, self._site
        if found := [*loader_problems(site, world), *device_problems(settings, world), *network_problems(settings)]:
            return refuse(found, world)
        wish = Wish(
            recipe=settings, site=site, draws=self.site.data is None, seconds=self.patience.seconds, tries=self.trial
        )
        try:
            found = visit(wish, world)
        except Exception as error:
            if (code := told(error, world)) is None:
                raise
            return code
        if world.is_main:
            self._say(found)
        return 0

    @property
    def _site(self) -> SiteConfig:
        """As a run has it; its output is not there yet, but the folder above it is."""
        return self.site.placed(self.site.data or Path(), self._beside / ".doctor")

    @property
    def _beside(self) -> Path:
        """The folder that is there already and that the run directory would lie in."""
        if self.site.output is None:
            return Path(tempfile.gettempdir())
        return next(folder for folder in self.site.output.resolve().parents if folder.exists())

    def _problems(self, world: World) -> list[str]:
        found = range_problems(self.patience, flags=True)
        if self.site.smoke:
            found.append("--smoke: the doctor trains nothing that could be tried; leave it out")
        if self.site.profile:
            found.append("--profile: the doctor measures without it, as it slows steps down; give it to train")
        if self.json and (self.json.is_dir() or not self.json.parent.is_dir()):
            found.append(f"--json: {self.json} cannot be a file; name one in a folder that exists")
        if self.site.data is None:
            found += self._problems_without_images(world)
        drawn = self.site.data is None
        return [
            *found,
            *network.problems(world),
            *preflight.problems(self.settings, self._site, world, with_data=not drawn),
        ]

    def _problems_without_images(self, world: World) -> list[str]:
        found: list[str] = []
        if self.site.manifests:
            found.append("--manifests: has no effect without --data")
        if world.local_world_size < world.world_size:
            found.append("--data: images are drawn on one machine alone, and these processes run on several; name some")
        return found

    def _say(self, found: Visit) -> None:
        from trainer.doctor.environment import findings

        size = found.figures.saving.bytes if found.figures.saving else None
        kept = self.site.keep_checkpoints + self.site.keep_best + 1  # and the one that is being written
        machine = findings(self.site.data, self.site.output, size and size * kept)
        sys.stdout.write("".join(f"{line}\n" for line in report.opening(found, machine)))
        report.show_measures(found.figures)
        sys.stdout.write("".join(f"{line}\n" for line in report.conclusions(found)))
        if self.json:
            self._save(self.json, found, [asdict(finding) for finding in machine])

    def _save(self, file: Path, found: Visit, machine: list[dict[str, Any]]) -> None:
        content = report.plain(found) | {"machine": machine, "seconds": self.patience.seconds}
        file.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
