"""CIFAR's files as the official archives hold them, byte for byte but for fewer images."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

CLASSES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CLASSES100 = [f"fine_{number}" for number in reversed(range(100))]
TRAIN10 = [f"data_batch_{number}" for number in range(1, 6)]


def python2(value: Any) -> bytes:
    """A pickle as Python 2's cPickle wrote it, protocol 2."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(part) for item in value.items() for part in item) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return _python2(value.encode())
    if isinstance(value, bytes):
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))) + value
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"".join(map(_python2, value.shape)) + b"\x86"
    state = b"(K\x01" + shape + kind + b"\x89" + _python2(value.tobytes()) + b"tb"
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state


def python3(value: Any, protocol: int = 4) -> bytes:
    """A pickle as today's Python writes it."""
    return pickle.dumps(value, protocol)


def batch(seed: int, count: int, labels: str, classes: int) -> dict[str, Any]:
    """What a file of images holds."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count).tolist()
    return {
        "batch_label": f"batch {seed}",
        labels: targets,
        "data": rng.integers(0, 256, (count, 3072), np.uint8),
        "filenames": [f"picture_s_{rng.integers(10**6):06d}.png" for _ in range(count)],
    }


def cifar10(root: Path, dumps: Any = python2, count: int = 20) -> dict[str, dict[str, Any]]:
    """Write CIFAR-10; gives back what its files hold."""
    files = {name: batch(seed, count, "labels", 10) for seed, name in enumerate([*TRAIN10, "test_batch"])}
    meta = {"num_cases_per_batch": count, "label_names": CLASSES10, "num_vis": 3072}
    return _write(root / "cifar-10-batches-py", {**files, "batches.meta": meta}, dumps)


def cifar100(root: Path, dumps: Any = python2, count: int = 50) -> dict[str, dict[str, Any]]:
    """Write CIFAR-100; gives back what its files hold."""
    files = {name: batch(seed, count, "fine_labels", 100) for seed, name in enumerate(["train", "test"])}
    for content in files.values():
        content["coarse_labels"] = [label // 5 for label in content["fine_labels"]]
    meta = {"fine_label_names": CLASSES100, "coarse_label_names": [f"coarse_{number}" for number in range(20)]}
    return _write(root / "cifar-100-python", {**files, "meta": meta}, dumps)


def _write(folder: Path, files: dict[str, dict[str, Any]], dumps: Any) -> dict[str, dict[str, Any]]:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(dumps(content))
    return files
