from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from data.catalog import dataset
from data.plan.config import InputConfig
from data.types import Batch
from models.config import ModelConfig
from trainer.doctor.bound import Change
from trainer.doctor.rig import Resident, Rig, Sample, sample
from trainer.engine.run_images import UnusableDataError, scanned
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World

RECIPE = Recipe(model=ModelConfig(name="resnet20", num_classes=4))


def site(data: Path, output: Path) -> SiteConfig:
    return SiteConfig(data=data, output=output)


def runtime() -> Runtime:
    return Runtime(World(), "fp32", 1)


def rig() -> Rig:
    recipe = Recipe(model=ModelConfig(name="resnet20"), precision="fp32", global_batch=64, micro_batch=2)
    images = Sample.__new__(Sample)
    return Rig(recipe=recipe, site=site(Path(), Path()), runtime=runtime(), sample=images, seconds=1, passes=16)


@pytest.mark.parametrize(("micro", "passes"), [(4, 8), (32, 1), (64, 1)])
def test_a_larger_pass_makes_fewer_of_them(micro: int, passes: int) -> None:
    found = rig().changed(Change("micro_batch", "", recipe={"micro_batch": micro}))
    assert (found.passes, found.measured.global_batch) == (passes, passes * micro)


def test_threads_and_precision_are_changed_in_a_runtime_of_their_own() -> None:
    before = rig()
    found = before.changed(Change("threads", "", site={"threads": 2}, recipe={"precision": "bf16"}))
    assert (found.runtime.threads, before.runtime.threads) == (2, 1)
    with found.runtime.autocast():
        assert torch.is_autocast_enabled("cpu")
    with before.runtime.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_a_measured_recipe_learns_next_to_nothing_at_its_full_size() -> None:
    found = rig().measured
    assert found.optimizer.lr < 1e-9
    assert found.input.start_size is None
    assert found.global_batch == 32


def test_a_resident_batch_fills_what_is_left_of_an_epoch() -> None:
    images, targets = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.arange(2)
    batch = Batch(images=images, targets=targets, indices=targets, valid=targets >= 0, mixing=torch.zeros(4))
    batches: Iterator[Batch] = Resident(batch, 3).epoch(0, 1)
    assert [one is batch for one in batches] == [True, True]


@pytest.mark.parametrize(("least", "count"), [(10, 80), (80, 80), (200, 200)])
def test_images_are_repeated_until_there_are_enough(images: Path, least: int, count: int) -> None:
    listed = scanned(dataset.find(images).listing("val"), None, lambda *_: None)
    train, val = Sample(listed, listed, {}, "").repeated(least)
    assert (len(train), len(val)) == (count, 80)
    assert train.name(count - 1) == listed.name((count - 1) % 80)
    assert train.sizes[count - 1] == listed.sizes[(count - 1) % 80]


def test_images_that_are_not_listed_yet_are_counted_and_some_scanned(images: Path, tmp_path: Path) -> None:
    found = sample(RECIPE, site(images, tmp_path), runtime(), draw=False)
    assert found.counts == {"train": 96, "val": 80}
    assert (len(found.train), len(found.val)) == (96, 80)
    assert "provenet verify" in found.source


def test_without_images_some_are_drawn(tmp_path: Path) -> None:
    small = Recipe(model=ModelConfig(name="resnet20", num_classes=2), input=InputConfig(train_size=32, crop="padded"))
    found = sample(small, site(tmp_path / "images", tmp_path), runtime(), draw=True)
    assert found.counts == {"train": 50_000, "val": 10_000}
    assert found.train.targets.max() == 1  # of four classes that are drawn
    assert np.median(found.train.widths) < 224
    assert "no --data was given" in found.source


def test_images_that_are_all_broken_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folder = tmp_path / "data" / split / "a"
        folder.mkdir(parents=True)
        (folder / "x.jpg").write_bytes(b"no image")
    with pytest.raises(UnusableDataError, match="no image that can be decoded"):
        sample(RECIPE, site(tmp_path / "data", tmp_path), runtime(), draw=False)
