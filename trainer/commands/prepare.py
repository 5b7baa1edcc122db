"""`provenet prepare`: its data sets, their flags, and what it prints. Loads little until there is work."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from time import monotonic
from typing import Annotated, Literal

import tyro

from data.catalog.listing import MANIFESTS
from data.catalog.pack_record import PackOptions
from data.output_folder import RefusedError
from data.prepare.prepared import Prepared
from trainer.commands.resumable import resumable
from trainer.exits import FAILED, refuse, say
from trainer.recipe.decode import range_problems

Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Partial = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True, kw_only=True, slots=True)
class Imagenet:
    """ImageNet (ILSVRC2012) from its official archives, as a tree of images or directly as tar shards.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG, classes being named by their synsets (n01440764), whose
    order is that of the class numbers everywhere. Before anything is written, the archives are found whole, with
    1,281,167 and 50,000 images. These are taken straight from the inner archives, which need no room of their own.

    Example: provenet prepare imagenet /imagenet --train-tar
    ILSVRC2012_img_train.tar --val-tar ILSVRC2012_img_val.tar --devkit ILSVRC2012_devkit_t12.tar.gz
    """

    out: Out
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    train_tar: Path
    """ILSVRC2012_img_train.tar, 138 GB."""
    val_tar: Path
    """ILSVRC2012_img_val.tar, 6.3 GB."""
    devkit: Path
    """ILSVRC2012_devkit_t12.tar.gz, which names the classes of the validation images."""
    to: Literal["tree", "shards"] = "tree"
    """One file for each image, or tar files of many images each with their lists, as `provenet pack` makes."""
    shards: Annotated[PackOptions, tyro.conf.arg(name="")] = field(default_factory=PackOptions)
    """How images are put into shards; only with --to shards."""
    partial: Partial = False
    """Accept archives that hold a part of ImageNet; validation images of classes that train lacks are left out."""
    workers: int | Literal["auto"] = "auto"
    """Processes that read and write, 1 to 256; auto: one for each CPU core that this process may use."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the data set and say what there is.

        Raises:
            OSError: A file cannot be read or written.
            BrokenExecutor: A worker was killed.
        """
        from data.pack.pack import TooManyBrokenSourcesError

        try:
            return _run(self._prepare, self.out)
        except TooManyBrokenSourcesError as error:
            return say(f"stopped\n{indent(str(error), '  ')}", FAILED)

    def _prepare(self) -> Prepared:
        from data.prepare import imagenet
        from data.workers import number
        from trainer.terminal import counting

        if problems := range_problems(self.shards, flags=True):
            raise RefusedError("\n".join(problems))
        if self.to == "tree" and self.shards != PackOptions():
            raise RefusedError("--to: tree, but options of shards are given; add --to shards, or leave them out")
        return imagenet.prepare(
            self.out,
            imagenet.Archives(train_tar=self.train_tar, val_tar=self.val_tar, devkit=self.devkit),
            shards=self.shards if self.to == "shards" else None,
            partial=self.partial,
            workers=number(self.workers),
            watch=counting,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _OneArchive:
    """What the smaller data sets are told."""

    out: Out
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    archive: Path
    """The official archive."""
    partial: Partial = False
    """Accept other images than the official ones, or a part of them."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the data set and say what there is.

        Raises:
            OSError: A file cannot be read or written.
        """
        return _run(self._prepare, self.out)

    def _prepare(self) -> Prepared:
        raise NotImplementedError


class Imagenette(_OneArchive):
    """Ten of ImageNet's classes that are easy to tell apart, from fast.ai's archive.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG: 9,469 and 3,925 images, in full, 320 or 160 pixels.

    Example: provenet prepare imagenette datasets/imagenette --archive imagenette2-320.tgz
    """

    def _prepare(self) -> Prepared:
        from data.prepare import imagenette
        from trainer.terminal import counting

        return imagenette.prepare(self.out, self.archive, "imagenette", partial=self.partial, watch=counting)


class Imagewoof(_OneArchive):
    """Ten of ImageNet's classes that are hard to tell apart, all dogs, from fast.ai's archive.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG: 9,025 and 3,929 images, in full, 320 or 160 pixels.

    Example: provenet prepare imagewoof datasets/imagewoof --archive imagewoof2-320.tgz
    """

    def _prepare(self) -> Prepared:
        from data.prepare import imagenette
        from trainer.terminal import counting

        return imagenette.prepare(self.out, self.archive, "imagewoof", partial=self.partial, watch=counting)


class Cifar10(_OneArchive):
    """CIFAR-10 from its official archive for Python, as torchvision lays it out.

    Writes OUT/cifar-10-batches-py, each file of which is found to be the official one by its MD5.

    Example: provenet prepare cifar10 datasets/cifar10 --archive cifar-10-python.tar.gz
    """

    def _prepare(self) -> Prepared:
        from data.prepare import cifar_archive

        return cifar_archive.prepare(self.out, self.archive, "cifar10", partial=self.partial)


class Cifar100(_OneArchive):
    """CIFAR-100 from its official archive for Python, as torchvision lays it out.

    Writes OUT/cifar-100-python, each file of which is found to be the official one by its MD5.

    Example: provenet prepare cifar100 datasets/cifar100 --archive cifar-100-python.tar.gz
    """

    def _prepare(self) -> Prepared:
        from data.prepare import cifar_archive

        return cifar_archive.prepare(self.out, self.archive, "cifar100", partial=self.partial)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareCommand:
    """Turn a data set's official archives, downloaded before, into what training reads.

    Archives are found whole and safe before anything is written. Interrupted, the same command goes on where it
    stopped; once done, it has nothing to do.

    Example: provenet prepare cifar10 datasets/cifar10 --archive cifar-10-python.tar.gz
    """

    data_set: Annotated[
        Annotated[Imagenet, tyro.conf.subcommand("imagenet")]
        | Annotated[Imagenette, tyro.conf.subcommand("imagenette")]
        | Annotated[Imagewoof, tyro.conf.subcommand("imagewoof")]
        | Annotated[Cifar10, tyro.conf.subcommand("cifar10")]
        | Annotated[Cifar100, tyro.conf.subcommand("cifar100")],
        tyro.conf.arg(name=""),
        tyro.conf.OmitSubcommandPrefixes,
    ]
    """Data set."""

    @property
    def quiet(self) -> bool:
        """Whether to show no progress."""
        return self.data_set.quiet

    def run(self) -> int:
        """Prepare it."""
        return resumable(self.data_set.run)


def _run(prepare: Callable[[], Prepared], out: Path) -> int:
    start = monotonic()
    try:
        prepared = prepare()
    except RefusedError as error:
        return refuse(str(error).splitlines())
    except ValueError as error:  # an archive or a file of it that was sound before
        return say(f"failed: {error}", FAILED)
    sys.stdout.write(_told(prepared, out, monotonic() - start))
    return 0


def _told(prepared: Prepared, out: Path, taken: float) -> str:
    contents = prepared.contents
    images = f"{contents.train + contents.val:,} images ({contents.train:,} train and {contents.val:,} val)"
    made = f"{prepared.written:,} written in {taken:.1f} s" if prepared.written else "all there before"
    place = shlex.quote(str(out))
    steps = [f"provenet train RECIPE --data {place} --output RUN --model.num-classes {contents.classes}"]
    if not all((out / name).exists() for name in MANIFESTS):
        steps.insert(0, f"provenet verify {place}")
    lines = (
        f"{out}: {images} of {contents.classes:,} classes, {contents.bytes / 1e6:,.1f} MB; {made}",
        *prepared.notes,
        *(f"{when}: {step}" for when, step in zip(("next", "then"), steps, strict=False)),
    )
    return "".join(f"{line}\n" for line in lines)
