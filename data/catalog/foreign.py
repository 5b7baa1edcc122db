"""Names the formats of other programs that cannot be read, with what to do instead. Standard library only."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MOST = 50  # entries of a folder that are looked at
WRITE = "write its images to DATA/train/<class>/ and DATA/val/<class>/, or to tar shards with a.jpg and a.cls for each"
OFFICIAL = "provenet prepare imagenet OUT --train-tar F --val-tar F --devkit F"
FORMATS = (
    (r"ILSVRC2012_img_(train|val)\.tar", f"an official archive: {OFFICIAL}"),
    (r".+\.(tar\.\w+|tgz|txz)", "compressed, without random access: gunzip makes a shard of it, tar xf a folder"),
    (r".+\.(zip|7z|rar)", "an archive without random access: unpack it into a folder"),
    (r".+\.parquet", "Hugging Face's: provenet prepare imagenet OUT --parquet FOLDER makes a tree of it"),
    (
        r".+\.arrow",
        "a cache of Hugging Face's datasets: write it by to_parquet, for provenet prepare imagenet --parquet",
    ),
    (r".+\.tfrecords?(-.*)?", f"TensorFlow's records (TFDS), which only TensorFlow reads: {WRITE}"),
    (r"(data|lock)\.mdb|.+\.lmdb", f"an LMDB, whose keys and values have no common form: {WRITE}"),
    (r".+\.(h5|hdf5)", f"HDF5, whose data sets have no common form: {WRITE}"),
    (r".+\.mds(\.\w+)?", f"MosaicML's MDS: {WRITE}"),
    (r".+\.beton", "FFCV's, with pixels of its own: name the images that it was made of"),
    (r".+\.rec", f"MXNet's records: {WRITE}"),
)


def explained(problem: str, path: Path) -> str:
    """Why there are no images at a path, with the first file there that is of these formats, and what to do."""
    kinds = ((file, advice) for file in _files(path) for form, advice in FORMATS if re.fullmatch(form, file.name))
    return next((f"{problem}; {file} is {advice}" for file, advice in kinds), problem)


def _files(path: Path, depth: int = 2) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    elif depth >= 0:
        for each in sorted(sorted(islice(path.iterdir(), MOST)), key=Path.is_dir):  # files first
            yield from _files(each, depth - 1)
