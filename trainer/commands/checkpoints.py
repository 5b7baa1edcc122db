"""`provenet checkpoints`: its flags, checks and table. Loads no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from trainer.checkpoint import files
from trainer.checkpoint.files import EMA, MODEL
from trainer.exits import FAILED, refuse, say
from trainer.rundir import RunDirectory
from trainer.terminal import age, progress, show, write

HEAD = ("checkpoint", "step", "epoch", "top-1, %", "MB", "age", "files", "valid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """List a run's checkpoints and verify each by its hashes, or export the weights of one.

    Ends with 0 when all are valid, with 1 when one is damaged or there is none.

    Example: provenet checkpoints runs/r50 --export r50.safetensors --ema
    """

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Run directory."""
    export: Path | None = None
    """Copy the network's weights to this file, FILE.safetensors, which timm and torchvision can load."""
    step: int | None = None
    """Step of the checkpoint to export. None: the newest valid one."""
    ema: bool = False
    """Export the moving average of the weights."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        if problems := self._problems():
            return refuse(problems)
        return self._list() if self.export is None else self._export(self.export)

    def _problems(self) -> list[str]:
        run = RunDirectory(self.run_directory)
        if not run.recipe.exists():
            return [f"RUN: {run.path} is not a run directory: it holds no {run.recipe.name}"]
        if self.export is None:
            unused = [flag for flag, used in (("--step", self.step is not None), ("--ema", self.ema)) if used]
            return [f"{flag}: says what to export; add --export FILE.safetensors" for flag in unused]
        if self.export.suffix != ".safetensors":
            return [f"--export: {self.export} has to end in .safetensors, by which programs know the format"]
        if self.export.exists():
            return [f"--export: {self.export} exists; name another file, or remove it"]
        if not self.export.parent.is_dir():
            return [f"--export: {self.export.parent} is not a folder"]
        return []

    @property
    def _folder(self) -> Path:
        return RunDirectory(self.run_directory).checkpoints

    def _list(self) -> int:
        paths = files.newest_first(self._folder)
        damages = {path: files.damage(path) for path in progress(paths, "verifying", "checkpoints")}
        if damages:
            epoch_steps = self._steps_per_epoch()
            show(HEAD, [_row(path, damage, epoch_steps) for path, damage in damages.items()])
        for unfinished in sorted(self._folder.glob("step-*.tmp")):
            write(f"{unfinished.name}: a write under way or cut short; the next write removes it\n")
        valid = [path for path, damage in damages.items() if damage is None]
        start = valid[0].name if valid else "step 0: there is no valid checkpoint"
        write(f"the run goes on from {start}\n")
        return 0 if valid and len(valid) == len(damages) else FAILED

    def _steps_per_epoch(self) -> float | None:
        evaluations = [record for record in RunDirectory(self.run_directory).records() if record["kind"] == "eval"]
        epochs = [record["step"] / record["epoch"] for record in evaluations if record.get("epoch")]
        return epochs[-1] if epochs else None

    def _export(self, file: Path) -> int:
        path, problem = self._chosen()
        if path is None:
            return refuse([problem])
        source = path / (EMA if self.ema else MODEL)
        if not source.exists():
            return refuse([f"--ema: {path} holds no moving average; the recipe has none, or drop --ema"])
        try:
            files.copy(source, file)
        except OSError as error:
            return say(f"failed: --export: {file}: {error.strerror}", FAILED)
        kind = "moving average of the weights" if self.ema else "weights"
        write(f"{file}: the {kind} at step {files.step_of(path):,}\n")
        return 0

    def _chosen(self) -> tuple[Path | None, str]:
        """The checkpoint to export, or why there is none."""
        paths = files.newest_first(self._folder)
        wanted = [path for path in paths if self.step in (None, files.step_of(path))]
        for path in wanted:
            damage = files.damage(path)
            if damage is None:
                return path, ""
            if self.step is not None:
                return None, f"--step: {path} is damaged: {damage}"
        steps = ", ".join(str(files.step_of(path)) for path in paths)
        if self.step is not None and steps:
            return None, f"--step: there is no checkpoint of step {self.step}; there are {steps}"
        return None, f"RUN: there is no valid checkpoint in {self._folder}"


def _row(path: Path, damage: str | None, epoch_steps: float | None) -> Sequence[str]:
    step = files.step_of(path)
    epoch = f"{step / epoch_steps:.4g}" if epoch_steps else "-"
    size = f"{files.bytes_of(path) / 1e6:,.1f}" if path.exists() else "-"
    try:
        manifest = files.read_manifest(path)
    except (OSError, ValueError):
        return path.name, str(step), epoch, "-", size, "-", "-", f"no: {damage}"
    top1 = "-" if manifest.top1 is None else f"{manifest.top1:.2f}"
    verdict = "yes" if damage is None else f"no: {damage}"
    return path.name, str(step), epoch, top1, size, age(time.time() - manifest.time), " ".join(manifest.files), verdict
