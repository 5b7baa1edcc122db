"""`provenet doctor`: its flags, its refusals and what it writes. Loads torch only to measure."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from trainer import preflight
from trainer.commands.parsing import Imports, named_recipe
from trainer.cpus import sleep_at_barriers
from trainer.doctor import bound, machine, versions
from trainer.doctor.advice import Visit
from trainer.doctor.bound import Bound, Figures
from trainer.doctor.machine import Finding
from trainer.exits import refuse
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import encode, range_problems
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorSite(SiteConfig):
    """Where the run would be: the settings of `train`, but data and output may be left out."""

    data: Path | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Folder of the images, as for `train`. None: drawn images of ImageNet's sizes; smaller ones for small crops."""
    output: Path | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Run directory; checkpoints are written to its disk, in a folder beside it. None: the disk of temporary files."""
    seconds: float = field(default=60.0, metadata={"min": 1, "max": 3600})
    """About how many seconds it measures; a network whose step takes seconds needs more."""

    def placed(self) -> SiteConfig:
        """The settings of a run; its output does not exist yet, but the folder above it does."""
        own: dict[str, Any] = {setting.name: getattr(self, setting.name) for setting in fields(SiteConfig)}
        above = self.output.resolve().parents if self.output else [Path(tempfile.gettempdir())]
        own["output"] = next(folder for folder in above if folder.exists()) / ".doctor"
        own["data"] = self.data or Path()
        return SiteConfig(**own)


@dataclass(frozen=True, kw_only=True, slots=True)
class Doctor:
    """Say what limits the speed of a run on this machine, by how much, and which setting to change.

    RECIPE and all flags are those of `train`: the same command with `doctor` in place of `train` examines the same run.
    It takes about a minute to measure the loader, the step, both together, evaluation, a checkpoint, on several
    processes the sum of the gradients, and some other settings. The first of these that helps is then tried. Nothing is
    trained; all files go to a folder beside the run directory, which is removed at the end.

    Example: provenet doctor resnet50 --data /imagenet --output runs/r50 --threads 4
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    site: tyro.conf.OmitArgPrefixes[DoctorSite]
    """Where the run would be."""
    imports: Imports = ()
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What would be trained."""
    trial: Annotated[bool, tyro.conf.arg(name="try")] = True
    """Measure the first advice that can be tried here, and compare the gain with the prediction."""
    json: Path | None = None
    """Also write all figures to this file."""

    def run(self, world: World) -> int:
        """Measure, and write what follows; returns the exit code."""
        if problems := self._problems(world):
            return refuse(problems, world)
        checks = machine_checks(self.site.data, self.site.output) if world.is_main else []
        sleep_at_barriers()
        from trainer.commands.failures import explain
        from trainer.doctor.trial import visit

        recipe, site, draws = self.settings, self.site.placed(), self.site.data is None
        if problems := preflight.machine_problems(recipe, site, world):
            return refuse(problems, world)
        try:
            measured = visit(recipe, site, world, draws=draws, tries=self.trial, seconds=self.site.seconds)
        except Exception as error:
            if (code := explain(error, world)) is None:
                raise
            return code
        if world.is_main:
            self._show(measured, checks)
        return 0

    def _show(self, visit: Visit, checks: list[Finding]) -> None:
        from trainer import terminal

        checks += machine.clock_findings(machine.look_at_gpus() or [])
        if (saving := visit.figures.saving) and self.site.output:
            kept = self.site.keep_checkpoints + self.site.keep_best + 1  # and the one that is being written
            checks.append(machine.free_finding(self.site.output, saving.bytes * kept))
        terminal.write("".join(f"{line}\n" for line in opening(visit, checks)))
        terminal.show(("what", "images/s", "CPU ms an image", ""), rows(visit.figures))
        terminal.write("".join(f"{line}\n" for line in conclusions(visit)))
        if self.json:
            content = plain(visit) | {"machine": [asdict(check) for check in checks]}
            self.json.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")

    def _problems(self, world: World) -> list[str]:
        draws = self.site.data is None
        if problems := range_problems(self.site, flags=True):
            return problems
        if self.site.smoke:
            problems.append("--smoke: the doctor trains nothing that could be tried; leave it out")
        if self.site.profile:
            problems.append("--profile: the doctor measures without it, as it slows steps down; give it to train")
        if self.json and (self.json.is_dir() or not self.json.parent.is_dir()):
            problems.append(f"--json: {self.json} cannot be a file; name one in a folder that exists")
        if draws and self.site.manifests:
            problems.append("--manifests: has no effect without --data")
        if draws and world.local_world_size < world.world_size:
            problems.append("--data: needed on several machines, as images can be drawn on one machine alone")
        return [*problems, *preflight.problems(self.settings, self.site.placed(), world, with_data=not draws)]


def default(words: Sequence[str]) -> Doctor:
    """The command with the settings of the typed recipe.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    return Doctor(recipe=tyro.MISSING, settings=named_recipe(words, "doctor"), site=DoctorSite())


def machine_checks(data: Path | None, output: Path | None) -> list[Finding]:
    """All checks that are made before this program uses the machine; of the folders, those that are not None."""
    gpus = machine.look_at_gpus()
    of_gpus = machine.gpu_findings(gpus, versions.torch_cuda())
    return [*versions.findings(on_gpu=bool(gpus)), *of_gpus, *machine.findings(data, output)]


def opening(visit: Visit, checks: Sequence[Finding]) -> Iterator[str]:
    """The run, the images, and what is wrong with the machine."""
    place, recipe = visit.figures.place, visit.figures.recipe
    yield (
        f"{recipe.model.name}, {recipe.input.train_size} px, {recipe.precision}, micro_batch {recipe.micro_batch} of "
        f"global_batch {recipe.global_batch}; processes: {place.world_size}, in each {place.own_cores} cores and "
        f"{place.threads} threads; loader: {place.backend}; {'GPU' if place.gpu else 'no GPU'}"
    )
    yield from visit.notes
    wrong = [check for check in checks if check.state != "good"]
    yield f"machine: {len(checks)} checks, {len(wrong)} to look at"
    yield from (f"  {check.name}: {check.message}; {check.fix}" for check in wrong)


def rows(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """The table of what was measured."""
    names = ("loader alone", "step alone", "both together", "evaluation")
    for name, pace in zip(names, (figures.load, figures.step, figures.together, figures.evaluation), strict=True):
        yield name, f"{figures.place.world_size / pace.seconds:,.1f}", f"{1e3 * pace.cpu_s:,.2f}", ""
    if saving := figures.saving:
        times = f"stops training for {1e3 * saving.hold_s:,.0f} ms, is written in {saving.write_s:.2f} s"
        yield "checkpoint", "", "", f"{times}, costs {1e3 * saving.cost_s:,.0f} ms in all; {saving.bytes / 1e6:,.0f} MB"
    if sums := figures.reduction:
        exposed = f"makes a step {1e3 * sums.exposed_s:,.1f} ms longer"
        yield "sum of gradients", "", "", f"{1e3 * sums.seconds:,.1f} ms for {sums.bytes / 1e6:,.0f} MB; {exposed}"


def conclusions(visit: Visit) -> Iterator[str]:
    """What limits the run, how long it takes, what to change, and the result of a trial."""
    figures, epoch, epochs = visit.figures, bound.epoch(visit.figures), visit.figures.recipe.epochs
    seconds, images = sum(epoch.values()), figures.steps * figures.recipe.global_batch
    shares = ", ".join(f"{name} {part / seconds:.1%}" for name, part in epoch.items())
    yield from ("", headline(figures))
    yield f"end to end {images / seconds:,.1f} images/s: an epoch takes {seconds / 60:,.1f} minutes ({shares})"
    yield from (f"all {epochs} epochs take {epochs * seconds / 3600:,.1f} hours", "")
    yield "to change, best first, each alone:" if visit.advice else "nothing that was measured gains 2 % or more"
    for advice in visit.advice:
        yield f"  {advice.change.flags}: {advice.gain:.2f} times, {advice.images_per_s:,.1f} images/s; {advice.effect}"
    yield from (f"not measured: {reason}" for reason in figures.untried)
    if trial := visit.trial:
        yield (
            f"tried {trial.flags}, in turns with the run as it is: {trial.before:,.1f} images/s become "
            f"{trial.measured:,.1f}, {trial.gain:.2f} times; predicted were {trial.predicted_gain:.2f} times"
        )


def headline(figures: Figures) -> str:
    """What limits the run, and by how much."""
    kind, part = bound.diagnose(figures)
    share, micro_batch = f"{part:.0%}", figures.recipe.micro_batch
    said: dict[Bound, str] = {
        "loader": f"loader-bound: {share} of the step is waiting for images",
        "cpu": f"CPU-bound: {share} of the step is decoding, which takes CPU cores from training",
        "passes": f"bound by small micro-batches: larger ones than {micro_batch} images shorten a step by {share}",
        "reduction": f"bound by the sum of gradients: {share} of the step waits for other processes",
        "checkpoints": f"checkpoint-bound: {share} of the time goes to one each {bound.interval(figures):,} steps",
        "step": f"bound by the step itself: training runs at {share} of the rate of the step alone",
    }
    return said[kind]


def plain(visit: Visit) -> dict[str, Any]:
    """The content of the JSON file."""
    kind, share = bound.diagnose(visit.figures)
    content = {
        "recipe": encode(visit.figures.recipe),
        "headline": headline(visit.figures),
        "diagnosis": {"bound": kind, "share": share},
        "epoch": bound.epoch(visit.figures),
        **asdict(visit),
    }
    del content["figures"]["recipe"], content["figures"]["site"]
    return content
