"""Unpacks the official archive of CIFAR-10 or CIFAR-100 to the layout that torchvision reads."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.catalog import archive, cifar
from data.catalog.archive import ArchiveError
from data.catalog.listing import SPLITS
from data.durable import replace
from data.output_folder import RefusedError, alone, refuse, refuse_strangers, room_problems
from data.prepare.prepared import Contents, Prepared, Source, Target, start

SITE = "https://www.cs.toronto.edu/~kriz/cifar.html"

Name = Literal["cifar10", "cifar100"]


@dataclass(frozen=True, slots=True)
class Official:
    """What one of the archives holds."""

    folder: str
    md5: dict[str, str]
    """Hex digest of each file that is needed."""


# torchvision.datasets.CIFAR10 and CIFAR100: train_list, test_list, meta
OFFICIAL: dict[Name, Official] = {
    "cifar10": Official(
        "cifar-10-batches-py",
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    "cifar100": Official(
        "cifar-100-python",
        {
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
    ),
}


def prepare(root: Path, path: Path, name: Name, *, partial: bool = False) -> Prepared:
    """Write ROOT/cifar-10-batches-py or ROOT/cifar-100-python; takes 200 MB of memory.

    Args:
        root: Folder to fill: absent, empty, or begun from the same archive.
        path: cifar-10-python.tar.gz or cifar-100-python.tar.gz.
        name: Which of the two it is.
        partial: Accept files that are not the official ones, byte for byte.

    Raises:
        RefusedError: The archive or the folder cannot be used; one line for each problem. Nothing was written.
        CifarError: A file that is not the official one cannot be read as such; it was written.
        OSError: A file cannot be read or written. The same call continues from there.
    """
    official = OFFICIAL[name]
    source = Source(name=name, archives={"--archive": path}, where=SITE, options={"partial": partial})
    target, contents = start(root, source, (official.folder,))
    if contents:
        return Prepared(contents=contents, written=0)
    try:
        files = _files(path, official)
    except ArchiveError as error:
        raise RefusedError(str(error)) from None
    refuse(_problems(path, files, official, partial=partial))
    refuse_strangers(root / official.folder, set(files))
    refuse(room_problems(root, sum(map(len, files.values())), len(files)))
    return _write(target, files, official)


def _write(target: Target, files: dict[str, bytes], official: Official) -> Prepared:
    folder = target.root / official.folder
    folder.mkdir(parents=True, exist_ok=True)
    with alone(target.lock):
        target.write_record()
        for name, content in files.items():
            replace(folder / name, content)
        (pickles,) = cifar.find(target.root)
        train, val = (cifar.listing(pickles, split) for split in SPLITS)
        contents = Contents(
            classes=len(train.classes),
            train=len(train.entries),
            val=len(val.entries),
            bytes=sum(map(len, files.values())),
        )
        target.complete(contents)
    return Prepared(contents=contents, written=contents.train + contents.val)


def _files(path: Path, official: Official) -> dict[str, bytes]:
    wanted = {f"{official.folder}/{name}": name for name in official.md5}
    with archive.unzipped(path) as stream:
        members = archive.members(stream, str(path))
        files = {wanted[member.name]: stream.read(member.size) for member in members if member.name in wanted}
        archive.drain(stream)
    return files


def _problems(path: Path, files: dict[str, bytes], official: Official, *, partial: bool) -> list[str]:
    absent = [f"--archive: {path} holds no {official.folder}/{name}" for name in official.md5 if name not in files]
    sums = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    changed = [
        f"--archive: {path}: {name} is not the official file: its MD5 is {digest}, which should be {official.md5[name]}"
        for name, digest in sums.items()
        if digest != official.md5[name] and not partial
    ]
    return [*absent, *changed, *(["to prepare such files all the same, add --partial"] if changed else [])]
