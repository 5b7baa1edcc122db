"""The simple random crop of DeiT III: torchvision's transforms, with the corners that the plan has drawn."""

from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from data.catalog.manifest import Manifest
from data.load.augment import reflect
from data.load.backends import open_loader
from data.plan import crops
from data.plan.config import AugmentConfig, InputConfig
from data.plan.plan import TrainPlan
from data.types import Backend, Shard
from tests.data.load.loading import BACKENDS
from tests.data.making import picture, scanned

SIDE = 40
CONFIG = InputConfig(train_size=SIDE, crop="simple", interpolation="bicubic")
SIZES = [(64, 48), (48, 64), (40, 40), (39, 400), (400, 41), (1, 1), (1, 9), (300, 2), (20, 30), (301, 199)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("images")
    (root / "train" / "a").mkdir(parents=True)
    for number in range(64):
        picture(*SIZES[number % len(SIZES)], number).save(root / "train" / "a" / f"{number:02}.png")
    return scanned(root)


def expected(draws: np.ndarray, image: Image.Image, *, flip: bool) -> np.ndarray:
    """DeiT's: Resize, RandomCrop with reflected padding, and a flip."""
    resized: Any = transforms.Resize(SIDE, interpolation=InterpolationMode.BICUBIC)(image)
    padded: Any = F.pad(resized, [4, 4, 4, 4], padding_mode="reflect")
    top, left = (int(u * (length - SIDE + 1)) for u, length in zip(draws[20:22], padded.size[::-1], strict=True))
    crop = F.crop(padded, top, left, SIDE, SIDE)
    return np.asarray(F.hflip(crop) if flip else crop).astype(int)


@pytest.mark.parametrize("batch", [1, 4, 32, 64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_crops_have_the_pixels_of_deit(images: Manifest, backend: Backend, batch: int) -> None:
    """By threads two levels of Pillow's; by DALI too, but for the border, where it filters otherwise."""
    plan = TrainPlan(manifest=images, config=CONFIG, seed=1, global_batch=batch, micro_batch=batch, shard=Shard())
    with closing(open_loader(plan, backend, device=torch.device("cpu"), threads=2, max_broken=0.0)) as loader:
        batches = list(islice(loader.epoch(0), 3))
    planned = plan.samples(0, 0)
    for found in batches:
        samples = next(planned)
        for row, index in enumerate(samples.indices.tolist()):
            image = Image.open(images.path(index)).convert("RGB")
            theirs = expected(samples.draws[row], image, flip=bool(samples.flips[row]))
            apart = np.abs(found.images[row].numpy() - theirs)
            assert apart.max() <= (2 if backend == "threads" else 8), (image.size, apart.max())
            assert apart.mean() < 0.5


def test_positions_are_equally_likely() -> None:
    draws = np.random.default_rng(0).random((40_000, crops.DRAWS))
    inner, shifts = crops.simple(draws, np.tile([SIDE, SIDE + 3], (40_000, 1)), 4, SIDE)
    for column, last in ((0, 0), (1, 3)):
        counts = np.bincount((inner + shifts)[:, column] + 4, minlength=9 + last)
        assert len(counts) == 9 + last
        assert (np.abs(counts - 40_000 / len(counts)) < 6 * np.sqrt(40_000 / len(counts))).all()
        assert set(inner[:, column].tolist()) == set(range(last + 1))


@pytest.mark.parametrize("strided", [False, True])
def test_an_image_is_reflected_the_same_in_every_layout(strided: bool) -> None:
    before = torch.randint(0, 256, (6, 9, 9, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    shifts = np.array([[0, 0], [3, -2], [-4, 4], [0, 1], [8, -8], [1, 0]])
    flips = np.array([False, False, True, True, False, True])
    after = before.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) if strided else before.clone()
    reflect(after, shifts, flips)
    for image, found, (down, right), flip in zip(before, after, shifts.tolist(), flips.tolist(), strict=True):
        padded = np.pad(image.numpy(), ((8, 8), (8, 8), (0, 0)), mode="reflect")
        right = -right if flip else right
        assert np.array_equal(found, padded[8 + down : 17 + down, 8 + right : 17 + right])


def test_a_substitute_is_cropped_by_the_same_draws(images: Manifest) -> None:
    plan = TrainPlan(manifest=images, config=CONFIG, seed=1, global_batch=8, micro_batch=8, shard=Shard())
    samples = next(plan.samples(0, 0))
    other = plan.replaced(samples, 3, 7)
    alike = replace(samples, indices=other.indices)
    sizes = crops.eval_sizes(images.widths[other.indices], images.heights[other.indices], SIDE)
    corners, shifts = crops.simple(alike.draws, sizes, 4, SIDE)
    assert np.array_equal(other.sizes, sizes)
    assert np.array_equal(other.corners, corners)
    assert np.array_equal(other.shifts, shifts)
    assert other.windows[3].tolist() == [0, 0, images.heights[7], images.widths[7]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_broken_image_is_replaced_by_a_crop_of_another(images: Manifest, backend: Backend) -> None:
    sizes = images.sizes.copy()
    sizes[5] += 1  # not the file that was listed
    config = replace(CONFIG, augment=AugmentConfig(erasing=0.5, erasing_fill="noise"))
    broken = replace(images, sizes=sizes)
    plan = TrainPlan(manifest=broken, config=config, seed=1, global_batch=64, micro_batch=64, shard=Shard())
    with closing(open_loader(plan, backend, device=torch.device("cpu"), threads=2, max_broken=0.5)) as loader:
        (batch,) = loader.epoch(0)
    (row,) = np.flatnonzero(next(plan.samples(0, 0)).indices == 5).tolist()
    assert (len(batch.broken), int(batch.indices[row])) == (1, 6)
    samples = plan.replaced(next(plan.samples(0, 0)), row, 6)
    theirs = expected(samples.draws[row], Image.open(images.path(6)), flip=bool(samples.flips[row]))
    assert np.abs(batch.images[row].numpy() - theirs).max() <= (2 if backend == "threads" else 8)
