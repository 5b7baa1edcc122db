"""`provenet prepare`: its data sets, their flags, and what it prints. Loads little until there is work."""

import shlex
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
from trainer.exits import FAILED, refuse, resumable, say
from trainer.recipe.decode import range_problems
from trainer.terminal import write

Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Partial = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True, kw_only=True, slots=True)
class Imagenet:
    """ImageNet (ILSVRC2012) from its official archives or Hugging Face's parquet files, as a tree or as tar shards.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG, classes being named by their synsets (n01440764), whose
    order is that of the class numbers everywhere. Before anything is written, the archives are checked to be complete,
    with 1,281,167 and 50,000 images. The inner archives are read in place and need no disk space.

    Example: provenet prepare imagenet /imagenet --train-tar
    ILSVRC2012_img_train.tar --val-tar ILSVRC2012_img_val.tar --devkit ILSVRC2012_devkit_t12.tar.gz
    """

    out: Out
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    train_tar: Path | None = None
    """ILSVRC2012_img_train.tar, 138 GB."""
    val_tar: Path | None = None
    """ILSVRC2012_img_val.tar, 6.3 GB."""
    devkit: Path | None = None
    """ILSVRC2012_devkit_t12.tar.gz, which names the classes of the validation images."""
    parquet: Path | None = None
    """Instead of the archives: folder of the parquet files of Hugging Face's ILSVRC/imagenet-1k, or with --partial of
    any data set with a column of images and one of labels. Needs the extra `parquet`."""
    to: Literal["tree", "shards"] = "tree"
    """One file for each image, or tar shards with their manifests, as `provenet pack` writes them."""
    shards: Annotated[PackOptions, tyro.conf.arg(name="")] = field(default_factory=PackOptions)
    """How images are packed; only with --to shards."""
    partial: Partial = False
    """Accept archives that hold a part of ImageNet; validation images of classes that train lacks are left out."""
    workers: int | Literal["auto"] = "auto"
    """Processes that read and write, 1 to 256; auto: one for each CPU core that this process may use."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the data set and print its contents."""
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
            raise RefusedError("--to: tree, but there are options of shards; add --to shards, or leave them out")
        tars = (self.train_tar, self.val_tar, self.devkit)
        if self.parquet:
            return self._from_parquet(self.parquet, tars)
        if lacking := [flag for flag, path in zip(("train-tar", "val-tar", "devkit"), tars, strict=True) if not path]:
            raise RefusedError(f"--{', --'.join(lacking)}: missing; name the official archives, or --parquet DIR")
        train_tar, val_tar, devkit = (path or Path() for path in tars)
        return imagenet.prepare(
            self.out,
            imagenet.Archives(train_tar=train_tar, val_tar=val_tar, devkit=devkit),
            shards=self.shards if self.to == "shards" else None,
            partial=self.partial,
            workers=number(self.workers),
            watch=counting,
        )

    def _from_parquet(self, folder: Path, tars: tuple[Path | None, ...]) -> Prepared:
        from data.prepare import parquet
        from data.workers import number
        from trainer.terminal import counting

        if any(tars):
            raise RefusedError("--parquet: there are official archives too; leave one of them out")
        if self.to == "shards":
            steps = f"make a tree, then: provenet pack {shlex.quote(str(self.out))} SHARDS"
            raise RefusedError(f"--to: shards, whose order of images parquet cannot be read in; {steps}")
        return parquet.prepare(self.out, folder, partial=self.partial, workers=number(self.workers), watch=counting)


@dataclass(frozen=True, kw_only=True, slots=True)
class _OneArchive:
    """A smaller data set, which comes in one archive."""

    out: Out
    """Folder to fill: a new one, an empty one, or one begun with the same options."""
    archive: Path
    """The official archive."""
    partial: Partial = False
    """Accept other images than the official ones, or a part of them."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the data set and print its contents."""
        return _run(self._prepare, self.out)

    def _prepare(self) -> Prepared:
        from data.prepare import cifar_archive, imagenette
        from trainer.terminal import counting

        match self:
            case Cifar10():
                return cifar_archive.prepare(self.out, self.archive, "cifar10", partial=self.partial)
            case Cifar100():
                return cifar_archive.prepare(self.out, self.archive, "cifar100", partial=self.partial)
            case _:
                name = "imagewoof" if isinstance(self, Imagewoof) else "imagenette"
                return imagenette.prepare(self.out, self.archive, name, partial=self.partial, watch=counting)


class Imagenette(_OneArchive):
    """Ten of ImageNet's classes that are easy to distinguish, from fast.ai's archive.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG: 9,469 and 3,925 images, in full, 320 or 160 pixels.

    Example: provenet prepare imagenette datasets/imagenette --archive imagenette2-320.tgz
    """


class Imagewoof(_OneArchive):
    """Ten of ImageNet's classes that are hard to distinguish, all dogs, from fast.ai's archive.

    Writes OUT/train/<class>/*.JPEG and OUT/val/<class>/*.JPEG: 9,025 and 3,929 images, in full, 320 or 160 pixels.

    Example: provenet prepare imagewoof datasets/imagewoof --archive imagewoof2-320.tgz
    """


class Cifar10(_OneArchive):
    """CIFAR-10 from its official archive for Python, in torchvision's layout.

    Writes OUT/cifar-10-batches-py; each file must have the MD5 of the official one.

    Example: provenet prepare cifar10 datasets/cifar10 --archive cifar-10-python.tar.gz
    """


class Cifar100(_OneArchive):
    """CIFAR-100 from its official archive for Python, in torchvision's layout.

    Writes OUT/cifar-100-python; each file must have the MD5 of the official one.

    Example: provenet prepare cifar100 datasets/cifar100 --archive cifar-100-python.tar.gz
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareCommand:
    """Turn the official archives of a data set, which you have downloaded, into what training reads.

    Archives are checked to be complete and safe before anything is written. If interrupted, the same command continues;
    once done, it has nothing to do.

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
        return self.data_set.quiet

    def run(self) -> int:
        return resumable(self.data_set.run)


def _run(prepare: Callable[[], Prepared], out: Path) -> int:
    start = monotonic()
    try:
        prepared = prepare()
    except RefusedError as error:
        return refuse(str(error).splitlines())
    except ValueError as error:  # an archive that has changed since it was checked
        return say(f"failed: {error}", FAILED)
    write(_summary(prepared, out, monotonic() - start))
    return 0


def _summary(prepared: Prepared, out: Path, seconds: float) -> str:
    contents = prepared.contents
    images = f"{contents.train + contents.val:,} images ({contents.train:,} train and {contents.val:,} val)"
    made = f"{prepared.written:,} written in {seconds:.1f} s" if prepared.written else "all there before"
    folder = shlex.quote(str(out))
    steps = [f"provenet train RECIPE --data {folder} --output RUN --model.num-classes {contents.classes}"]
    if not all((out / name).exists() for name in MANIFESTS):
        steps.insert(0, f"provenet verify {folder}")
    lines = (
        f"{out}: {images} of {contents.classes:,} classes, {contents.bytes / 1e6:,.1f} MB; {made}",
        *prepared.notes,
        *(f"{when}: {step}" for when, step in zip(("next", "then"), steps, strict=False)),
    )
    return "".join(f"{line}\n" for line in lines)
