"""Archives in the structures of the official ones, with small images."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image

CLASSES = {"n01440764": 2, "n02119789": 3, "n03000684": 1}  # with their ILSVRC2012_IDs, in no order, as the real ones
TRUTH = [1, 3, 2, 2, 1, 3]
TRAIN_PER_CLASS = 4

Extra = dict[str, str | float]


@cache
def jpeg(number: int) -> bytes:
    """An image like no other, below 2,000."""
    stream = io.BytesIO()
    Image.new("RGB", (40 + number % 40, 40 + number // 40), (number % 251, 90, 160)).save(stream, "JPEG")
    return stream.getvalue()


def tar(files: dict[str, bytes] | list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    pairs = [(tarfile.TarInfo(name), body) for name, body in files.items()] if isinstance(files, dict) else files
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, content in pairs:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def train_images(classes: Iterable[str] = CLASSES, count: int = TRAIN_PER_CLASS) -> dict[str, dict[str, bytes]]:
    return {
        wnid: {f"{wnid}_{7 * i + place}.JPEG": jpeg(100 * place + i) for i in range(count)}
        for place, wnid in enumerate(classes)
    }


def val_images(count: int = len(TRUTH)) -> dict[str, bytes]:
    return {f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(1000 + number) for number in range(1, count + 1)}


def imagenet(folder: Path, classes: Iterable[str] = CLASSES, count: int = TRAIN_PER_CLASS) -> dict[str, Path]:
    """The three archives, by the names of their flags."""
    inner = {f"{wnid}.tar": tar(images) for wnid, images in train_images(classes, count).items()}
    contents = {
        "train_tar": ("ILSVRC2012_img_train.tar", tar(inner)),
        "val_tar": ("ILSVRC2012_img_val.tar", tar(val_images())),
        "devkit": ("ILSVRC2012_devkit_t12.tar.gz", devkit()),
    }
    folder.mkdir(exist_ok=True)
    for name, content in contents.values():
        (folder / name).write_bytes(content)
    return {flag: folder / name for flag, (name, _) in contents.items()}


def devkit(
    synsets: list[Extra] | None = None, truth: Iterable[object] = TRUTH, top: str = "ILSVRC2012_devkit_t12"
) -> bytes:
    files = {
        f"{top}/readme.txt": b"This is the documentation of the ILSVRC2012 Development Kit.\n",
        f"{top}/data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{line}\n" for line in truth).encode(),
        f"{top}/data/meta.mat": meta_mat(synsets or [*map(leaf, CLASSES, CLASSES.values()), entity(4)]),
    }
    return gzip.compress(tar(files), compresslevel=1)


def leaf(wnid: str, number: int, images: int = TRAIN_PER_CLASS) -> Extra:
    """A class, as the devkit lists it."""
    return {
        "ILSVRC2012_ID": number,
        "WNID": wnid,
        "words": "fox, Vulpes",
        "num_children": 0,
        "num_train_images": images,
    }


def entity(number: int) -> Extra:
    """What classes are kinds of."""
    return {"ILSVRC2012_ID": number, "WNID": f"n{number:08d}", "words": "", "num_children": 3, "num_train_images": 0}


def meta_mat(rows: list[Extra], order: str = "<", compressed: bool = True, name: str = "synsets") -> bytes:
    """MATLAB's file of version 5 with one array of structures, as MATLAB writes it."""

    def element(kind: int, body: bytes) -> bytes:
        if 0 < len(body) <= 4:
            return struct.pack(f"{order}I", len(body) << 16 | kind) + body.ljust(4, b"\0")
        return struct.pack(f"{order}II", kind, len(body)) + body + bytes(-len(body) % 8)

    def matrix(kind: int, shape: tuple[int, int], title: str, *parts: bytes) -> bytes:
        flags = element(6, struct.pack(f"{order}II", kind, 0)) + element(5, struct.pack(f"{order}ii", *shape))
        return element(14, flags + element(1, title.encode()) + b"".join(parts))

    def value(content: str | float) -> bytes:
        if isinstance(content, str):
            encoding = "utf-16-le" if order == "<" else "utf-16-be"
            return matrix(4, (1, len(content)), "", element(4, content.encode(encoding)))
        # as small as the number allows, whatever its class
        kind, code = (2, "B") if content == int(content) < 256 else (4, "H") if content == int(content) else (9, "d")
        return matrix(6, (1, 1), "", element(kind, struct.pack(f"{order}{code}", content)))

    fields = list(rows[0])
    titles = element(5, struct.pack(f"{order}i", 32)) + element(
        1, b"".join(key.encode().ljust(32, b"\0") for key in fields)
    )
    body = matrix(2, (len(rows), 1), name, titles, *(value(row[key]) for row in rows for key in fields))
    if compressed:
        packed = zlib.compress(body)
        body = struct.pack(f"{order}II", 15, len(packed)) + packed
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack(f"{order}H", 0x0100)
    return header + (b"IM" if order == "<" else b"MI") + body
