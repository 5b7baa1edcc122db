"""Slurm's commands as small scripts on PATH, and what a run directory holds."""

import json
import os
from pathlib import Path

from trainer.checkpoint import files
from trainer.rundir import RunDirectory, write_text


def slurm(folder: Path, **scripts: str) -> tuple[str, Path]:
    """A PATH with these commands first, and the file in which each writes down how it was called, in a line."""
    folder.mkdir(exist_ok=True)
    calls = folder / "calls"
    for name, script in {"sbatch": "echo Submitted batch job 12", "srun": "exit 0", **scripts}.items():
        (folder / name).write_text(f"#!/bin/bash\necho \"{name} ${{*//$'\\n'/ }}\" >> {calls}\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}", calls


def called(calls: Path, command: str) -> list[str]:
    """What follows the command's name, for each call."""
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.removeprefix(f"{command} ") for line in lines if line.split()[0] == command]


def checkpoint(folder: Path, step: int) -> Path:
    """A whole checkpoint, but for what its weights say."""
    path = files.place(folder, step)
    path.mkdir(parents=True)
    for name in (files.MODEL, files.STATE):
        (path / name).write_bytes(b"weights")
    listed = {name: files.describe(path / name) for name in (files.MODEL, files.STATE)}
    (path / files.MANIFEST).write_text(
        files.Manifest(step=step, files=listed, top1=None, time=0.0, token=None).text(), encoding="utf-8"
    )
    return path


def finish(run: Path, top1: float, top5: float = 90.0, protocol: str = "center crop") -> None:
    """Leave a result."""
    run.mkdir(parents=True, exist_ok=True)
    result = {"top1": top1, "top5": top5, "images": 36, "protocol": protocol}
    write_text(RunDirectory(run).result, json.dumps(result))  # at once, as other processes may read it
