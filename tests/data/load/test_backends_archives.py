"""The same batches from archives as from the files that went into them."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.catalog import dataset, tree
from data.catalog.pack_record import PackOptions
from data.pack import pack
from data.plan.config import InputConfig
from data.types import Backend
from data.verify import verify
from tests.data.cifar_files import TRAIN10, cifar10
from tests.data.load.loading import BACKENDS, rows, same, train_loader
from tests.data.making import scanned, varied_tree


@pytest.mark.parametrize("backend", BACKENDS)
def test_shards_give_the_batches_of_the_tree_they_were_packed_of(tmp_path: Path, backend: Backend) -> None:
    images = scanned(varied_tree(tmp_path / "tree"))
    out = tmp_path / "shards"
    listing, options = tree.read(tmp_path / "tree" / "train").listing(), PackOptions(shard_images=7)
    pack.write(listing, out, "train", options, workers=1, progress=lambda *_: None)
    packed = pack.write_manifest(out, "train", images=32, workers=1)
    assert len(packed.archives) == 5
    assert packed.fingerprint() == images.fingerprint()
    with closing(train_loader(backend, images)) as ours, closing(train_loader(backend, packed)) as theirs:
        assert all(same(one, other) for one, other in zip(ours.epoch(0), theirs.epoch(0), strict=True))


def test_cifar_gives_its_own_pixels(tmp_path: Path) -> None:
    files = cifar10(tmp_path)
    listing = dataset.find(tmp_path).listing("train")
    images = verify.scan(listing, workers=1).manifest
    assert images.root == dataset.find(tmp_path).folder("train")
    config = InputConfig(train_size=32, crop="padded", crop_padding=0, flip=0)
    with closing(train_loader("threads", images, config)) as loader:
        found = rows(loader.epoch(0))
        targets = {
            int(i): int(t) for batch in loader.epoch(1) for i, t in zip(batch.indices, batch.targets, strict=True)
        }
    expected = {}
    for name in TRAIN10:
        for row, (pixels, target) in enumerate(zip(files[name]["data"], files[name]["labels"], strict=True)):
            expected[f"{name}/{row:05d}"] = pixels.reshape(3, 32, 32).transpose(1, 2, 0), target
    assert len(found) == 96
    for index, pixels in found.items():
        want, target = expected[images.name(index)[:18]]
        assert np.array_equal(pixels, want)
        assert targets.get(index, target) == target


def test_a_padded_crop_of_cifar_is_black_at_the_border(tmp_path: Path) -> None:
    cifar10(tmp_path)
    listing = dataset.find(tmp_path).listing("train")
    images = verify.scan(listing, workers=1).manifest
    config = replace(InputConfig(), train_size=32, crop="padded", crop_padding=4)
    with closing(train_loader("threads", images, config)) as loader:
        batches = list(loader.epoch(0))
    edges = np.concatenate([batch.images[:, 0].numpy().reshape(4, -1) for batch in batches])
    assert 0.3 < (edges == 0).all(axis=1).mean() < 0.6  # of nine places, four begin above the image
