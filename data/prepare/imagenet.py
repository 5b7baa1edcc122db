"""Turns ImageNet's official archives into a tree of images, or directly into shards."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from data.catalog.archive import ArchiveError, Member
from data.catalog.listing import SPLITS, Entry, Listing
from data.catalog.pack_record import CLASSES, RECORD, PackOptions
from data.output_folder import alone, refuse, some
from data.prepare import ilsvrc, unpack
from data.prepare.prepared import Contents, Prepared, Source, Target, start
from data.prepare.unpack import Folders
from data.types import Watch, in_silence
from data.workers import bad_workers, each

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archives:
    """Paths of the official archives."""

    train_tar: Path
    """ILSVRC2012_img_train.tar: an archive of the archives of the classes."""
    val_tar: Path
    """ILSVRC2012_img_val.tar: all images in one folder."""
    devkit: Path
    """ILSVRC2012_devkit_t12.tar.gz: names of the classes, and the classes of the validation images."""


class _Scan(NamedTuple):
    paths: dict[str, Path]
    """Archive of each split."""
    images: dict[str, dict[str, list[Member]]]
    """By split and class, classes and images sorted; names are those of the files alone."""
    left_out: int
    """Validation images of classes that the training images lack."""


def prepare(
    root: Path,
    archives: Archives,
    *,
    shards: PackOptions | None = None,
    partial: bool = False,
    workers: int,
    watch: Watch = in_silence,
) -> Prepared:
    """Write ROOT/train and ROOT/val, or the images that are missing there; a complete data set is not changed.

    Shards get manifests beside them, as `verify` writes them for a tree.

    Args:
        root: Folder to fill: absent, empty, or begun from the same archives.
        archives: Their headers are read and checked before anything is written.
        shards: How images are packed into tar files; ranges are not checked. None: a tree, ROOT/train/<class>/*.JPEG.
        partial: Accept archives that hold a part of ImageNet.
        workers: Processes that read and write, 1 to 256; 1 works in this process.
        watch: Shows the progress of each phase.

    Raises:
        RefusedError: Archives or folder cannot be used; one line for each problem. Nothing was written.
        TooManyBrokenSourcesError: More images cannot be decoded than `shards` accepts.
        OSError: A file cannot be read or written. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
    """
    paths = {"--train-tar": archives.train_tar, "--val-tar": archives.val_tar, "--devkit": archives.devkit}
    # of the options of shards, this one alone decides no byte
    packing = {key: value for key, value in asdict(shards).items() if key != "max_broken"} if shards else None
    options = {"shards": packing, "partial": partial}
    source = Source(name="imagenet", archives=paths, where=ilsvrc.SITE, options=options)
    problems = bad_workers(workers)
    target, contents = start(root, source, (*SPLITS, RECORD, CLASSES), problems)
    if contents:
        return Prepared(contents=contents, written=0)
    scan = _scan(archives, partial, workers, watch)
    prepared = _shards(target, scan, shards, workers, watch) if shards else _tree(target, scan, workers, watch)
    left_out = f"{scan.left_out:,} validation images of classes that --train-tar lacks were left out"
    return replace(prepared, notes=(*prepared.notes, left_out)) if scan.left_out else prepared


def _tree(target: Target, scan: _Scan, workers: int, watch: Watch) -> Prepared:
    def write(missing: Folders) -> Iterator[int]:
        sources = {
            scan.paths[split]: {folder: files for folder, files in missing.items() if folder.startswith(f"{split}/")}
            for split in SPLITS
        }
        return unpack.plain(target.root, sources, workers)

    splits = scan.images.items()
    folders = {f"{split}/{wnid}": members for split, images in splits for wnid, members in images.items()}
    return unpack.fill(target, folders, write, watch)


def _shards(target: Target, scan: _Scan, options: PackOptions, workers: int, watch: Watch) -> Prepared:
    from data.pack import pack  # loads numpy and Pillow, which a tree does not need

    listings = {split: _listing(scan.paths[split], scan.images[split]) for split in SPLITS}
    written: dict[str, pack.Written] = {}
    target.root.mkdir(parents=True, exist_ok=True)
    with alone(target.lock):
        target.write_record()
        for split, listing in listings.items():
            with watch(f"pack {split}", "images") as progress:
                written[split] = pack.write(listing, target.root, split, options, workers, progress)
            with watch(f"verify {split}", "images") as progress:
                pack.write_manifest(target.root, split, written[split].images, workers, progress)
        contents = Contents(
            classes=len(scan.images["train"]),
            train=written["train"].images,
            val=written["val"].images,
            bytes=sum(split.bytes for split in written.values()),
        )
        target.complete(contents)
    broken = [name for split in written.values() for name, _ in split.broken]
    notes = (f"{len(broken):,} images cannot be decoded and were left out: {some(broken)}",) if broken else ()
    return Prepared(
        contents=contents, written=sum(split.images for split in written.values() if split.new), notes=notes
    )


def _listing(path: Path, images: dict[str, list[Member]]) -> Listing:
    entries = [
        Entry(target, f"{wnid}/{member.name}", 0, member.offset, member.size)
        for target, (wnid, members) in enumerate(images.items())
        for member in members
    ]
    return Listing(root=path.absolute().parent, classes=tuple(images), entries=entries, archives=(path.name,))


def _scan(archives: Archives, partial: bool, workers: int, watch: Watch) -> _Scan:
    """Find every image by the archives' headers, or refuse with every problem."""
    problems: list[str] = []
    devkit = _attempt(ilsvrc.read_devkit, archives.devkit, problems)
    val = _attempt(ilsvrc.val_images, archives.val_tar, problems)
    train = _train(archives.train_tar, workers, problems, watch)
    refuse(problems)
    assert devkit is not None
    assert val is not None
    counts = {wnid: len(members) for wnid, members in train.items()}
    refuse(ilsvrc.problems(devkit, counts, val.keys(), partial=partial))
    by_class: dict[str, list[Member]] = {wnid: [] for wnid in train}
    for number, member in sorted(val.items()):
        by_class.get(devkit.truth[number - 1], []).append(member)
    paths = {"train": archives.train_tar, "val": archives.val_tar}
    return _Scan(paths, {"train": train, "val": by_class}, len(val) - sum(map(len, by_class.values())))


def _train(path: Path, workers: int, problems: list[str], watch: Watch) -> dict[str, list[Member]]:
    inner = _attempt(lambda path: list(ilsvrc.classes_in(path)), path, problems) or []
    images: dict[str, list[Member]] = {}
    with watch("scan", "classes") as progress, closing(each(_images_of, inner, workers)) as scanned:
        for wnid, members in scanned:
            images[wnid] = members if isinstance(members, list) else problems.append(members) or []
            progress(len(images), len(inner))
    return dict(sorted(images.items()))


def _images_of(inner: ilsvrc.Inner) -> tuple[str, list[Member] | str]:
    """The images of a class, or why there are none."""
    try:
        return inner.wnid, sorted(ilsvrc.images_of(inner))
    except ArchiveError as error:
        return inner.wnid, str(error)


def _attempt(read: Callable[[Path], Result], path: Path, problems: list[str]) -> Result | None:
    try:
        return read(path)
    except ArchiveError as error:
        problems.append(str(error))
        return None
