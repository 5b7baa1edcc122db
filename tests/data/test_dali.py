import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from data import manifest, tree
from data.config import InputConfig
from data.dali import DaliLoader
from data.manifest import Manifest
from data.plan import EvalPlan, TrainPlan
from data.types import Batch, BrokenImageError, Shard

CONFIG = InputConfig(train_size=40, eval_resize=48, eval_crop=40)
SIZES = [(64, 48), (48, 64), (50, 50), (301, 199), (133, 400), (49, 48), (20, 30), (200, 41)]  # up- and downscaled


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth shapes under fine grain: something that a wrong filter or an offset changes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, (height, width, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Odd sizes, greyscale, a PNG named .JPEG, 4:4:4, turned by EXIF."""
    root = tmp_path_factory.mktemp("images")
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, (width, height) in enumerate(SIZES * 3):
        image = picture(width, height, number)
        file = root / "train" / "ab"[number % 2] / f"{number:02}.JPEG"
        kind = number // len(SIZES)
        if kind == 0:
            image.save(file, "JPEG", quality=95)
        elif kind == 1:
            image.save(file, "JPEG", quality=90, subsampling=0, exif=turned)
        elif number % 2:
            image.convert("L").save(file, "JPEG")
        else:
            image.save(file, "PNG")
    return manifest.scan(tree.read(root, "train"), lambda *_: None)


def train_loader(images: Manifest, *, threads: int = 2, micro_batch: int = 4, shard: Shard | None = None) -> DaliLoader:
    plan = TrainPlan(
        widths=images.widths,
        heights=images.heights,
        config=CONFIG,
        seed=3,
        global_batch=8,
        micro_batch=micro_batch,
        shard=shard or Shard(),
    )
    return DaliLoader(images, plan, threads=threads, pinned=False)


def eval_loader(images: Manifest, batch: int, shard: Shard | None = None) -> DaliLoader:
    plan = EvalPlan(widths=images.widths, heights=images.heights, config=CONFIG, batch=batch, shard=shard or Shard())
    return DaliLoader(images, plan, threads=2, pinned=False)


def same(ours: Batch, theirs: Batch) -> bool:
    return all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in Batch.__slots__)


def rows(batches: Iterator[Batch]) -> dict[int, np.ndarray]:
    """Pixels by row of the manifest, of the valid rows."""
    return {
        int(index): image.numpy().astype(int)
        for batch in batches
        for image, index, valid in zip(batch.images, batch.indices, batch.valid, strict=True)
        if valid
    }


def test_evaluation_pixels_are_torchvision_s_within_one_level(images: Manifest) -> None:
    transform = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(40)])
    found = rows(eval_loader(images, 5).epoch(0))
    assert sorted(found) == list(range(24))
    for index, pixels in found.items():
        expected = np.asarray(transform(Image.open(images.path(index)).convert("RGB"))).astype(int)
        assert np.abs(pixels - expected).max() <= 1, images.path(index)


def test_training_pixels_are_those_of_the_plan_s_crop(images: Manifest) -> None:
    """Pillow carries out the same plan; antialiased filters that differ in arithmetic stay within half a level."""
    loader = train_loader(images)
    found = rows(loader.epoch(2))
    plan = loader._plan.samples(2, 0)
    for samples in (next(plan) for _ in range(loader.batches_per_epoch)):
        for index, window, flip in zip(samples.indices, samples.windows, samples.flips, strict=True):
            top, left, height, width = (int(number) for number in window)
            crop = Image.open(images.path(int(index))).convert("RGB").crop((left, top, left + width, top + height))
            expected = np.asarray(crop.resize((40, 40), Image.Resampling.BILINEAR)).astype(int)
            expected = expected[:, ::-1] if flip else expected
            assert np.abs(found[int(index)] - expected).mean() < 0.5, images.path(int(index))


def test_a_batch_has_the_shapes_and_types_it_promises(images: Manifest) -> None:
    batch = next(train_loader(images).epoch(0))
    assert (batch.images.shape, batch.images.dtype) == ((4, 40, 40, 3), torch.uint8)
    assert (batch.targets.dtype, batch.indices.dtype, batch.valid.dtype) == (torch.int64, torch.int64, torch.bool)
    assert torch.equal(batch.targets, torch.from_numpy(images.targets)[batch.indices])


@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_loader_goes_on_at_any_batch_as_if_it_had_never_stopped(images: Manifest, first: int) -> None:
    whole = [*train_loader(images).epoch(0), *train_loader(images).epoch(1)]
    fresh = train_loader(images, threads=1)
    resumed = [*fresh.epoch(0, first), *fresh.epoch(1)]
    assert len(whole) == 12
    assert all(same(ours, theirs) for ours, theirs in zip(resumed, whole[first:], strict=True))


def test_an_epoch_left_in_the_middle_can_be_begun_again(images: Manifest) -> None:
    loader = train_loader(images)
    source = loader.epoch(0)
    first = next(source)
    next(source)
    assert same(next(loader.epoch(0)), first)


def test_two_ranks_share_what_one_sees(images: Manifest) -> None:
    alone = list(train_loader(images).epoch(0))
    pair = [list(train_loader(images, shard=Shard(rank, 2)).epoch(0)) for rank in (0, 1)]
    dealt = [batch for together in zip(*pair, strict=True) for batch in together]
    assert all(same(ours, theirs) for ours, theirs in zip(dealt, alone, strict=True))


def test_evaluation_can_be_repeated(images: Manifest) -> None:
    loader = eval_loader(images, 7)
    first, second = list(loader.epoch(0)), list(loader.epoch(1))
    assert all(same(ours, theirs) for ours, theirs in zip(first, second, strict=True))


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage", "remove"])
def test_a_file_that_breaks_after_the_listing_is_named(images: Manifest, tmp_path: Path, damage: str) -> None:
    root = tmp_path / "train"
    shutil.copytree(images.root, root)
    copied = manifest.scan(tree.read(tmp_path, "train"), lambda *_: None)
    broken = copied.path(3)
    content = broken.read_bytes()
    if damage == "remove":
        broken.unlink()
    else:
        broken.write_bytes({"truncate": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 500}[damage])
    with pytest.raises(BrokenImageError, match=str(broken)):
        list(eval_loader(copied, 4).epoch(0))


def test_a_name_that_is_no_text_is_read(images: Manifest, tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    shutil.copy(images.path(0), tmp_path / "train" / "a" / os.fsdecode(b"a\nb\xff.JPEG"))
    copied = manifest.scan(tree.read(tmp_path, "train"), lambda *_: None)
    (batch,) = eval_loader(copied, 1).epoch(0)
    (expected, *_) = eval_loader(images, 1).epoch(0)
    assert torch.equal(batch.images, expected.images)


def test_a_closed_loader_leaves_no_threads(images: Manifest) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    next(train_loader(images).epoch(0))
    gc.collect()
    before = threads()
    loader = train_loader(images, threads=4)
    next(loader.epoch(0))
    assert threads() > before
    loader.close()
    gc.collect()
    assert threads() == before
