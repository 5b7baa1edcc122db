from pathlib import Path

import numpy as np
import pytest

from data import dataset
from trainer.doctor import packing
from trainer.doctor.images import taken
from trainer.images import scanned


@pytest.mark.parametrize(
    ("train", "evaluated", "side"), [(224, 256, 400), (160, 232, 288), (64, 72, 128), (8, 9, 32), (224, 512, 512)]
)
def test_copies_are_larger_than_what_is_cut_from_them(train: int, evaluated: int, side: int) -> None:
    assert packing.side_for(train, evaluated) == side


def test_some_images_are_packed_as_the_command_packs_them(images: Path, tmp_path: Path) -> None:
    listed = scanned(dataset.listing(images, "train"), None, lambda *_: None)
    rows = packing.chosen(listed)
    assert len(rows) == packing.IMAGES
    assert packing.worthwhile(listed, rows, 32)
    assert not packing.worthwhile(listed, rows, 4096)
    assert packing.write(taken(listed, rows), tmp_path / "out", 48) is None
    packed = dataset.load(tmp_path / "out", tmp_path / "out", "train")
    assert len(packed) == len(rows)
    assert np.minimum(packed.widths, packed.heights).max() == 48


def test_what_goes_wrong_is_given_back(images: Path, tmp_path: Path) -> None:
    listed = scanned(dataset.listing(images, "train"), None, lambda *_: None)
    assert "--resize: 8" in str(packing.write(listed, tmp_path / "out", 8))
