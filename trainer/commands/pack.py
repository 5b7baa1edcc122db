"""`provenet pack`: its flags and what it prints. Loads numpy and Pillow only once there is work."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from time import monotonic
from typing import Annotated, Literal

import tyro

from data.catalog.layout import Layout, chosen
from data.catalog.listing import SPLITS, Listing
from data.catalog.pack_record import PackOptions
from data.names import shown
from trainer.exits import FAILED, note, refuse, resumable, say
from trainer.recipe.decode import range_problems
from trainer.terminal import write

SHOWN = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PackCommand(Layout):
    """Put the images of a data set into tar shards: few large files instead of many small ones.

    Writes OUT/train/train-000000.tar and so on, and OUT/val likewise, in WebDataset's layout, each with an index for
    DALI's reader beside it; OUT/classes.txt, OUT/pack.json, and OUT/manifest-train.npz and -val.npz, which the loaders
    read. Each shard is read back and compared. The same options give the same bytes, whatever the number of workers.
    If interrupted, the same command continues; once done, it has nothing to do.

    Example: provenet pack datasets/imagenet datasets/imagenet400 --resize 400
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Data set to pack: SOURCE/train and SOURCE/val; it is not changed."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    options: Annotated[PackOptions, tyro.conf.arg(name="")]
    """How images are packed."""
    workers: int | Literal["auto"] = "auto"
    """Processes that pack, 1 to 256; auto: one for each CPU core that this process may use."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Pack both splits, list their images, and print what there is."""
        return resumable(self._run)

    def _run(self) -> int:
        from data.catalog import dataset
        from data.pack import pack
        from data.workers import number
        from trainer.terminal import counting

        workers = number(self.workers)
        if problems := self._problems(workers):
            return refuse(problems)
        try:
            data = dataset.find(self.source, self)
            if reason := data.misplaced():
                return refuse([f"SOURCE: {reason}"])
            listings = data.listings(counting, note)  # both, before one is packed for an hour
            for split, listing in zip(SPLITS, listings, strict=True):
                self._pack(listing, split, workers)
        except ValueError as error:  # every refusal is one
            return refuse(str(error).splitlines())
        except pack.TooManyBrokenSourcesError as error:
            return say(f"stopped\n{indent(str(error), '  ')}", FAILED)
        return 0

    def _problems(self, workers: int) -> list[str]:
        from data.workers import bad_workers

        values = [problem for part in (self.options, chosen(self)) for problem in range_problems(part, flags=True)]
        problems = [*values, *bad_workers(workers)]
        if self.options.resize is None and self.options.quality != PackOptions().quality:
            problems.append(f"--quality: {self.options.quality}, but without --resize no image is encoded again")
        return problems

    def _pack(self, listing: Listing, split: str, workers: int) -> None:
        from data.pack import pack
        from trainer.terminal import counting

        start = monotonic()
        with counting(f"pack {split}", "images") as progress:
            written = pack.write(listing, self.out, split, self.options, workers, progress)
        made = f"{written.new:,} of them written in {monotonic() - start:.1f} s" if written.new else "all there before"
        scaled = f" ({written.resized:,} scaled down)" if written.resized else ""
        contents = f"{written.images:,} images{scaled} in {written.shards:,} shards, {written.bytes / 1e6:,.1f} MB"
        write(f"{self.out / split}: {contents}; {made}\n")
        if written.broken:
            named = [f"\n  {shown(name)}: {reason}" for name, reason in written.broken[:SHOWN]]
            count = f"{len(written.broken):,}; pack.json names all"
            note(f"left out, as they cannot be decoded: {count}{''.join(named)}")
        with counting(f"verify {split}", "images") as progress:
            pack.write_manifest(self.out, split, written.images, workers, progress)
