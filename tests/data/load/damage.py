"""Images damaged after they were listed, and what a loader makes of them; a process of its own, which DALI could end.

`python -m tests.data.load.damage ROOT CASE...` goes through batch sizes, threads, training and evaluation, files and
shards, and prints a JSON list: of each pass the numbers of the images that the loader calls broken.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path

import torch

from data.catalog import tree
from data.catalog.manifest import Manifest
from data.catalog.pack_record import PackOptions
from data.load.backends import open_loader
from data.pack import pack
from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Shard
from tests.data.making import picture, scanned

COUNT = 144  # images
WIDTH, HEIGHT = 48, 40
CONFIG = InputConfig(train_size=24, eval_resize=28, eval_crop=24, drop_last=False)
CASES = [("tree", 64, 2), ("shards", 64, 2), ("shards", 128, 1), *product(("tree",), (8, 32, 64, 128), (1, 2))]


def jpeg(seed: int = 0, **options: object) -> bytes:
    stream = io.BytesIO()
    picture(WIDTH, HEIGHT, seed).save(stream, "JPEG", **options)
    return stream.getvalue()


def place(content: bytes, marker: int) -> int:
    """Where the segment of that marker begins."""
    return content.index(bytes([0xFF, marker]))


def patched(marker: int, offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """A change of some bytes of a segment."""

    def change(content: bytes) -> bytes:
        start = place(content, marker) + offset
        return content[:start] + value + content[start + len(value) :]

    return change


def stray(content: bytes, value: bytes = b"\0\1") -> bytes:
    """Bytes between two segments."""
    start = place(content, 0xDB)
    return content[:start] + value + content[start:]


HEADER: dict[str, Callable[[bytes], bytes]] = {
    "zeroed header": lambda content: bytes(200) + content[200:],
    "garbage": lambda content: b"x" * len(content),
    "zeros": lambda content: bytes(len(content)),
    "stray bytes": lambda content: stray(content)[: len(content)],
    "frame of size 0": patched(0xC0, 5, bytes(4)),
    "smaller frame": patched(0xC0, 5, bytes([0, 20, 0, 20])),
    "larger frame": patched(0xC0, 5, bytes([0, 60, 0, 80])),
    "absurd frame": patched(0xC0, 5, b"\xff\xf0\xff\xf0"),
    "32 bits a sample": patched(0xC0, 4, bytes([32])),
    "9 components": patched(0xC0, 9, bytes([9])),
    "segment longer than the file": patched(0xC4, 2, b"\xff\xff"),
    "end in the header": patched(0xDB, 1, b"\xd9"),
}
"""Of the same size. DALI's parser refuses all but the larger frames, of which it would decode a corner."""
SCAN: dict[str, Callable[[bytes], bytes]] = {
    "zeroed scan": lambda content: (
        content[: place(content, 0xDA) + 14] + bytes(len(content) - place(content, 0xDA) - 14)
    ),
    "broken tables": patched(0xC4, 4, b"\xff" * 40),
    "zeroed half": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
}
"""Of the same size. DALI's decoder raises."""
DAMAGE = HEADER | SCAN
VICTIMS = {7 + 9 * number: kind for number, kind in enumerate(DAMAGE)}
ODD = 3
"""Listed as sound, as Pillow and threads decode it, though DALI does not."""


def make(root: Path) -> dict[str, Manifest]:
    """A tree and shards of the same images, damaged after they were listed."""
    contents = [jpeg(seed) for seed in range(6)]
    for number in range(COUNT):
        folder = root / "tree" / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        content = contents[number % len(contents)]
        (folder / f"{number:03}.JPEG").write_bytes(stray(content) if number == ODD else content)
    listed = scanned(root / "tree")
    listing = tree.read(root / "tree" / "train").listing()
    pack.write(listing, root / "shards", "train", PackOptions(shard_images=50), workers=1, progress=lambda *_: None)
    packed = pack.write_manifest(root / "shards", "train", images=COUNT, workers=1)
    for images in (listed, packed):
        for index in range(COUNT):
            if kind := VICTIMS.get(number_of(images, index)):
                overwrite(images, index, DAMAGE[kind])
    return {"tree": listed, "shards": packed}


def number_of(images: Manifest, index: int) -> int:
    return int(Path(images.name(index)).stem.split("_")[-1])


def overwrite(images: Manifest, index: int, change: Callable[[bytes], bytes]) -> None:
    with images.path(index).open("r+b") as file:
        file.seek(int(images.offsets[index]))
        content = change(file.read(int(images.sizes[index])))
        assert len(content) == images.sizes[index]
        os.pwrite(file.fileno(), content, int(images.offsets[index]))


def broken(images: Manifest, *, train: bool, batch: int, threads: int) -> list[int]:
    """Numbers of the images that a pass of DALI calls broken."""
    plan = (
        TrainPlan(manifest=images, config=CONFIG, seed=1, global_batch=batch, micro_batch=batch, shard=Shard())
        if train
        else EvalPlan(manifest=images, views=EvalViews.of(CONFIG), batch=batch, shard=Shard())
    )
    loader = open_loader(plan, "dali", device=torch.device("cpu"), threads=threads, max_broken=1.0)
    with closing(loader):
        batches = list(loader.epoch(0))
    names = {image.name for each in batches for image in each.broken}
    return sorted(number_of(images, index) for index in range(COUNT) if images.label(index) in names)


def main() -> None:
    stores = make(Path(sys.argv[1]))
    found = list[list[object]]()
    for (store, batch, threads), train in product([CASES[int(case)] for case in sys.argv[2:]], (True, False)):
        sys.stderr.write(f"{store}, batch {batch}, {threads} threads, {'training' if train else 'evaluation'}\n")
        found.append([store, batch, threads, train, broken(stores[store], train=train, batch=batch, threads=threads)])
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
