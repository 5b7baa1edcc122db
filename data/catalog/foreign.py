"""Names the formats of other programs that cannot be read, with what to do instead. Standard library only."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MOST = 50  # entries of a folder that are looked at
WRITE = (
    "write its images to DATA/train/<class>/ and DATA/val/<class>/, or into tar shards with a.jpg and a.cls for each"
)
FORMATS = (
    (
        r"ILSVRC2012_img_(train|val)\.tar",
        "an official archive: provenet prepare imagenet OUT --train-tar F --val-tar F --devkit F",
    ),
    (r".+\.(tar\.\w+|tgz|txz)", "compressed, without random access: gunzip makes a shard of it, tar xf a folder"),
    (r".+\.(zip|7z|rar)", "an archive without random access: unpack it into a folder"),
    (
        r".+\.(parquet|arrow)",
        "Hugging Face's: provenet prepare imagenet OUT --parquet FOLDER makes files or shards of parquet",
    ),
    (r".+\.tfrecords?(-.*)?", f"TensorFlow's records (TFDS), which only TensorFlow reads: {WRITE}"),
    (r"(data|lock)\.mdb|.+\.lmdb", f"an LMDB, whose keys and values have no common form: {WRITE}"),
    (r".+\.(h5|hdf5)", f"HDF5, whose data sets have no common form: {WRITE}"),
    (r".+\.mds(\.\w+)?", f"MosaicML's MDS: {WRITE}"),
    (r".+\.beton", "FFCV's, with pixels of its own: name the images that it was made of"),
    (r".+\.rec", f"MXNet's records: {WRITE}"),
)


def named(path: Path) -> str | None:
    """A file at or below a path that is of a known format, and what to do, for the user; None where there is none."""
    for file in _files(path):
        for pattern, advice in FORMATS:
            if re.fullmatch(pattern, file.name):
                return f"{file} is {advice}"
    return None


def _files(path: Path, depth: int = 2) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    inner = sorted(islice(path.iterdir(), MOST))
    for each in sorted(inner, key=Path.is_dir):  # files first
        if depth or not each.is_dir():
            yield from _files(each, depth - 1)
