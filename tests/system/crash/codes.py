"""Exit codes of a tiny run to which something happens in one of its phases; `Trial` says how.

Reads cells of the table in `trainer/FORMATS.md` as JSON, a list of (event, phase), and prints their codes as another.
"""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.system.crash.__main__ import TINY, images, with_shim
from tests.system.crash.trials import How, Trial, preload, start
from trainer.checkpoint.holder import Hold
from trainer.recipe.recipes import FOLDER

PLACES = {
    "start": "open /recipe.yaml",
    "begin": "open /run/.recipe.yaml.tmp",
    "training": "write /run/at_work/rank0-train",
    "evaluation": "write /run/at_work/rank0-val",
    "end": "open /run/.report.md.tmp",
    "finished": "open /run/result.json",
}
"""A call of each phase."""
UNNOTICED = ("SIGHUP under `nohup`", "output cannot be written")
FLAGS = {
    "none": (),
    "a flag is wrong": ("--epochs", "0"),
    "the folder holds something else": (),
    "the loss is not finite": ("--optimizer.lr", "1000", "--save-steps", "9"),
}
HAPPENING: dict[str, tuple[How, int]] = {
    "Ctrl-C, SIGTERM, SIGHUP, SIGUSR2": ("signal", 0),
    "the disk is full": ("fail on", errno.ENOSPC),
    "the disk fails": ("fail on", errno.EIO),
    "SIGKILL, of the kernel's for want of memory too": ("kill", 0),
    "SIGSEGV": ("signal", signal.SIGSEGV),
}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


def stop_in(phase: str) -> signal.Signals:
    """The signal that this phase is tried with."""
    return STOPS[[*PLACES].index(phase) % len(STOPS)]


def main() -> int:
    if "crash_shim" not in os.environ:
        return with_shim("tests.system.crash.codes")
    cells: list[tuple[str, str]] = [tuple(cell) for cell in json.load(sys.stdin)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    preload()
    with tempfile.TemporaryDirectory(prefix="codes-") as folder:
        root = Path(folder)
        (root / "recipe.yaml").write_bytes((FOLDER / "demo.yaml").read_bytes())
        images(root)
        whole = undisturbed(root)
        (root / "run").rename(root / "whole")
        codes = [whole if cell[0] in UNNOTICED or cell == ("none", "end") else code(*cell, root) for cell in cells]
    json.dump(codes, sys.stdout)
    return 0


def undisturbed(root: Path) -> int:
    """How a run ends in all of whose phases `UNNOTICED` happens."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = run(root, Trial(how="signal", error=signal.SIGHUP), output=Path("/dev/full"))
    signal.signal(signal.SIGHUP, before)
    return ended


def code(event: str, phase: str, root: Path) -> int:
    """How a run ends to which this happens."""
    shutil.rmtree(root / "run", ignore_errors=True)
    if phase == "finished":
        shutil.copytree(root / "whole", root / "run")
    if "another" in event:
        (root / "run").mkdir(exist_ok=True)
    if "something else" in event:
        (root / "run").mkdir()
        (root / "run/metrics.jsonl").touch()
    if "another" in event:
        with Hold.take(root / "run/holder.json", print, lambda: None):
            return run(root, Trial())
    if event in FLAGS:
        return run(root, Trial(), *FLAGS[event])
    how, error = HAPPENING[event]
    return run(root, Trial(how=how, call=1, error=error or stop_in(phase), place=PLACES[phase]))


def run(root: Path, trial: Trial, *flags: str, output: Path | None = None) -> int:
    """The exit code; 128 and the signal for one that a signal ends, as shells say."""
    places = ("--data", str(root / "images"), "--output", str(root / "run"))
    words = [TINY[0], str(root / "recipe.yaml"), *TINY[2:], *places, "--epochs", "1", *flags]
    (ended,) = start(words, root, trial, output or root / "log")
    return 128 - ended if ended < 0 else ended


if __name__ == "__main__":
    sys.exit(main())
