from pathlib import Path

import numpy as np
import pytest

from data import dataset
from data.config import InputConfig
from models.config import ModelConfig
from trainer.config import Recipe, SiteConfig
from trainer.doctor.images import cycled, drawn_scale, sample, taken
from trainer.images import UnusableDataError, scanned
from trainer.runtime import Runtime
from trainer.world import World

RECIPE = Recipe(model=ModelConfig(name="resnet20", num_classes=4))


def site(data: Path, output: Path) -> SiteConfig:
    return SiteConfig(data=data, output=output)


def runtime() -> Runtime:
    return Runtime(World(), "fp32", 1)


def test_rows_may_come_again(images: Path) -> None:
    listed = scanned(dataset.listing(images, "val"), None, lambda *_: None)
    found = taken(listed, np.array([3, 0, 3]))
    assert [found.name(row) for row in range(3)] == [listed.name(3), listed.name(0), listed.name(3)]
    assert found.sizes.tolist() == [listed.sizes[row] for row in (3, 0, 3)]


@pytest.mark.parametrize(("least", "count"), [(10, 80), (80, 80), (200, 200)])
def test_images_come_again_until_there_are_enough(images: Path, least: int, count: int) -> None:
    listed = scanned(dataset.listing(images, "val"), None, lambda *_: None)
    found = cycled(listed, least)
    assert len(found) == count
    assert found.name(count - 1) == listed.name((count - 1) % 80)


def test_images_that_nobody_has_listed_are_counted_and_some_looked_at(images: Path, tmp_path: Path) -> None:
    found = sample(RECIPE, site(images, tmp_path), runtime(), draw=False)
    assert found.counts == {"train": 96, "val": 80}
    assert "provenet verify" in found.says
    assert not found.raw


def test_without_images_some_are_drawn(tmp_path: Path) -> None:
    small = Recipe(model=ModelConfig(name="resnet20", num_classes=2), input=InputConfig(train_size=32, crop="padded"))
    found = sample(small, site(tmp_path / "images", tmp_path), runtime(), draw=True)
    assert found.counts == {"train": 50_000, "val": 10_000}
    assert found.train.targets.max() == 1  # of four classes that are drawn
    assert "no --data was given" in found.says


@pytest.mark.parametrize(("size", "scale"), [(32, "small"), (64, "small"), (224, "full")])
def test_small_networks_get_small_images(size: int, scale: str) -> None:
    assert drawn_scale(Recipe(input=InputConfig(train_size=size))) == scale


def test_images_that_are_all_broken_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folder = tmp_path / "data" / split / "a"
        folder.mkdir(parents=True)
        (folder / "x.jpg").write_bytes(b"no image")
    with pytest.raises(UnusableDataError, match="no image that can be decoded"):
        sample(RECIPE, site(tmp_path / "data", tmp_path), runtime(), draw=False)
