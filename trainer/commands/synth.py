"""`provenet synth`: its flags and what it prints. Loads numpy and Pillow only once there is work."""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import tyro

from data.synth.config import Synth
from trainer.exits import refuse, resumable
from trainer.recipe.decode import range_problems
from trainer.terminal import write


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthCommand:
    """Make a procedural data set in ImageNet's layout, to train on without a download.

    Writes OUT/train/<class>/*.JPEG, OUT/val/<class>/*.JPEG and OUT/synth.json. Classes differ only in shape and
    texture; colours, positions, rotations, light and noise are random. The same options give the same bytes, whatever
    the number of workers. If interrupted, the same command continues; once done, it has nothing to do.

    Example: provenet synth datasets/big --scale full --train-per-class 1300 --val-per-class 50
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
        """Write the tree and print its contents."""
        return resumable(self._draw)

    def _draw(self) -> int:
        from data.output_folder import RefusedError
        from data.synth import synth
        from data.workers import number
        from trainer.terminal import counting

        if problems := range_problems(self.options, flags=True):
            return refuse(problems)
        start = monotonic()
        try:
            with counting("synth", "images") as progress:
                tree = synth.write(self.out, self.options, workers=number(self.workers), progress=progress)
        except RefusedError as error:
            return refuse(str(error).splitlines())
        made = f"{tree.drawn:,} drawn in {monotonic() - start:.1f} s" if tree.drawn else "all there before"
        splits = f"{self.options.train_per_class:,} train and {self.options.val_per_class:,} val"
        contents = f"{tree.images:,} images ({self.options.classes} classes of {splits}), {tree.bytes / 1e6:,.1f} MB"
        write(f"{self.out}: {contents}; {made}\n")
        return 0
