"""`python -m data`: the commands, their flags and their errors. Loads numpy and Pillow only once there is work."""

import sys
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

import tyro

from data.commandline import hush, plain_refusals, union
from data.config import Synth
from data.ending import FAILED, INTERRUPTED, refuse, say
from data.pack.command import PackCommand
from data.prepare.command import PrepareCommand
from data.verify.command import VerifyCommand


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthCommand:
    """Make a procedural data set in ImageNet's layout, to train on without a download.

    Writes OUT/train/<class>/*.JPEG, OUT/val/<class>/*.JPEG and OUT/synth.json. Classes differ in shape and texture
    alone, under random colours, places, turns, light and noise. The same options give the same bytes, whatever the
    number of workers. Interrupted, the same command goes on where it stopped; once done, it has nothing to do.

    Example: python -m data synth datasets/big --scale full --train-per-class 1300 --val-per-class 50
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    options: Annotated[Synth, tyro.conf.arg(name="")]
    """What is drawn."""
    workers: int | Literal["auto"] = "auto"
    """Processes that draw, 1 to 256; auto: one for each CPU core that this process may use."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the tree and say what there is.

        Raises:
            OSError: A file cannot be written.
            BrokenExecutor: A worker was killed.
        """
        from data.folder import RefusedError
        from data.progress import counting
        from data.synth import synth
        from data.workers import number

        start = monotonic()
        try:
            with counting("synth", "images") as progress:
                tree = synth.write(self.out, self.options, workers=number(self.workers), progress=progress)
        except RefusedError as error:
            return refuse(str(error))
        made = f"{tree.drawn:,} drawn in {monotonic() - start:.1f} s" if tree.drawn else "all there before"
        splits = f"{self.options.train_per_class:,} train and {self.options.val_per_class:,} val"
        contents = f"{tree.images:,} images ({self.options.classes} classes of {splits}), {tree.bytes / 1e6:,.1f} MB"
        sys.stdout.write(f"{self.out}: {contents}; {made}\n")
        return 0


COMMANDS: dict[str, Any] = {
    "synth": SynthCommand,
    "prepare": PrepareCommand,
    "verify": VerifyCommand,
    "pack": PackCommand,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad input and nothing was done, 130 interrupted.
    """
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
        hush(command.quiet)
        return command.run()
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except KeyboardInterrupt:
        return say("interrupted; the same command goes on from here", INTERRUPTED)
    except BrokenExecutor:
        return say("failed: a worker was killed (out of memory?); the same command goes on from here", FAILED)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return say(f"failed: {reason}; once that is mended, the same command goes on from here", FAILED)


def parse(arguments: list[str]) -> Any:
    """The command that was asked for."""
    with plain_refusals(arguments):
        return tyro.cli(commands(arguments), args=arguments, prog="python -m data")


def commands(arguments: list[str]) -> Any:
    """The type of all commands, as the parser takes it."""
    return union(COMMANDS, arguments)
