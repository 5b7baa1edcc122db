"""Tar shards on disk: ROOT/train/*.tar and ROOT/val/*.tar in WebDataset's layout. Reads only their headers.

A sample is the files of one name: `a/b.jpg`, the image, and `a/b.cls`, the number or the name of its class, or
`a/b.json` with one of them. Other files of that name are left alone. ROOT/classes.txt gives the names of numbered
classes, one on each line. All shards may lie in ROOT, with train or val in their names.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO

from data import schema
from data.catalog import archive
from data.catalog.archive import ArchiveError, Member
from data.catalog.listing import Entry, Listing
from data.catalog.pack_record import CLASSES, RECORD, unfinished
from data.catalog.tree import EXTENSIONS, is_hidden
from data.output_folder import some

THREADS = 8  # on a network file system most of the time is spent waiting; on a local one they cost nothing
MAX_DIGITS = 6  # a million classes, as many as a network may have: each gets a name
MOST_LABEL = 1 << 20  # bytes of a file with a label
KEYS = ("cls", "label", "class", "target", "class_name")  # of a class in JSON
_SPLIT = re.compile(r"(?!ilsvrc2012_img_)(?:^|.*[^a-z])(train|val)(?:id|idation)?(?:[^a-z].*|$)")


class ShardError(ValueError):
    """Shards that cannot be used; the message names the file, the reason and the remedy."""


def exist(root: Path, split: str, folder: Path | None = None) -> bool:
    """Whether a split is stored as shards, or will be: an unfinished pack may have none yet."""
    own = folder != root
    return (own and (root / RECORD).exists()) or bool(_archives(folder or root / split, split, own=own))


def listing(root: Path, split: str, folder: Path | None = None) -> Listing:
    """The images of the split's *.tar in ROOT/<split> or another folder, each with its offset in the archive.

    Raises:
        ShardError: There are none, or one is not as it should be.
        OSError: A file cannot be read.
    """
    own, folder = folder != root, folder or root / split
    files = _archives(folder, split, own=own)
    if reason := unfinished(root, split, files):
        raise ShardError(reason)
    if not files:
        raise ShardError(f"{folder} holds no *.tar file; expected {root}/train/*.tar and {root}/val/*.tar")
    with ThreadPoolExecutor(THREADS) as pool:
        labelled = list(chain.from_iterable(pool.map(partial(_entries, folder), range(len(files)), files)))
    if not labelled:
        raise ShardError(f"{folder} holds no image in {some([*files])}; expected files like a.jpg and a.cls in them")
    classes = _classes(root, {label for label, _ in labelled})
    numbers = {name: number for number, name in enumerate(classes)}
    entries = sorted(
        entry._replace(target=label if isinstance(label, int) else numbers[label]) for label, entry in labelled
    )
    return Listing(root=folder, classes=classes, entries=entries, archives=files)


def split_name(name: str) -> tuple[str, str]:
    """Sample and extension, which begins at the first dot of the file's name, as WebDataset defines it."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return "" if any(map(is_hidden, name.split("/"))) else folder + slash + stem, extension


def split_of(archive: str) -> str | None:
    """The split that the name of a shard says, as in imagenet1k-validation-07.tar."""
    match = _SPLIT.fullmatch(archive.lower())
    return match and match[1]


def _archives(folder: Path, split: str, *, own: bool) -> tuple[str, ...]:
    names = sorted(path.name for path in folder.glob("[!.]*.tar"))
    return tuple(name for name in names if own or split_of(name) == split)


def _entries(folder: Path, number: int, file: str) -> list[tuple[int | str, Entry]]:
    path = folder / file
    images: dict[str, Member] = {}
    labels: dict[str, int | str] = {}
    texts: dict[str, Member] = {}
    dotted: dict[str, Member] = {}
    try:
        with path.open("rb", buffering=0) as stream:  # a buffer would read 8 KB for each header of 512 bytes
            for member in archive.members(stream, str(path), path.stat().st_size):
                sample, extension = split_name(member.name)
                if extension == "cls" and sample:
                    labels[sample] = _label(path, stream, member)
                elif extension == "json" and sample:
                    texts[sample] = member
                elif PurePosixPath(f"a.{extension}").suffix.lower() in EXTENSIONS and sample:
                    own = images if "." not in extension else dotted
                    if sample in images and own is images:
                        both = f"{images[sample].name} and {member.name}"
                        raise ShardError(f"{path} holds two images of one sample, {both}; pack them again")
                    own[sample] = member
            for sample in texts.keys() & images.keys() - labels.keys():
                stream.seek(texts[sample].offset)
                labels[sample] = _label(path, stream, texts[sample])
    except ArchiveError as error:
        raise ShardError(str(error)) from None
    _check_pairs(path, images, labels, dotted)
    return [(labels[key], Entry(0, each.name, number, each.offset, each.size)) for key, each in images.items()]


def _label(path: Path, stream: IO[bytes], member: Member) -> int | str:
    """The number or name of a class in a file of a sample."""
    content = stream.read(min(member.size, MOST_LABEL))
    text = content.decode(errors="surrogateescape").strip()
    if member.name.endswith(".json"):
        text = _in_json(content)
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text)
    if not text.isprintable() or re.fullmatch(r"[-+.\d]*", text):
        raise ShardError(
            f"{path}: {member.name} holds {content[:20]!r}; "
            "it must be the number of a class, from 0 to 999999, or its name"
        )
    return text


def _in_json(content: bytes) -> str:
    try:
        fields = dict(schema.parse(content))
    except (ValueError, TypeError):
        return ""
    return next((str(fields[key]).strip() for key in KEYS if isinstance(fields.get(key), str | int)), "")


def _check_pairs(
    path: Path, images: dict[str, Member], labels: dict[str, int | str], dotted: dict[str, Member]
) -> None:
    for sample in dotted.keys() - images.keys():  # beside a sample's image, it is a mask or the like
        name = dotted[sample].name
        raise ShardError(f"{path}: {name} is no sample's image: names of samples have no dots; pack it again")
    for sample in images.keys() - labels.keys():
        raise ShardError(
            f"{path}: {images[sample].name} has no {sample}.cls beside it, the number of its class; pack it again"
        )
    for sample in labels.keys() - images.keys():
        kinds = ", ".join(EXTENSIONS)
        raise ShardError(f"{path}: {sample}.cls has no image beside it, {sample} with one of {kinds}; pack it again")


def _classes(root: Path, labels: set[int | str]) -> tuple[str, ...]:
    """Names from classes.txt or the labels, or the numbers, with leading zeros so that sorting keeps their order."""
    file, numbers = root / CLASSES, [label for label in labels if isinstance(label, int)]
    named = {label for label in labels if isinstance(label, str)}
    if named and numbers:
        raise ShardError(f"{root}: some shards number their classes ({numbers[0]}), others name them ({min(named)})")
    if not file.exists():
        highest = max(numbers, default=0)
        return tuple(sorted(named)) or tuple(str(each).zfill(len(str(highest))) for each in range(highest + 1))
    names = tuple(file.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n").split("\n"))
    if max(numbers, default=0) >= len(names) or named - set(names):
        used = max(numbers, default=min(named, default=""))
        raise ShardError(f"{file} names {len(names):,} classes, and the shards use class {used}; add the names")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShardError(f"{file} names {twice!r} twice; each line must be another class")
    return names
