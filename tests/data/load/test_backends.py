import gc
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets.folder import default_loader

from data.catalog.formats import RAW
from data.catalog.manifest import Manifest
from data.load.backends import UnusableBackendError, choose, evaluating
from data.plan.config import AugmentConfig, InputConfig
from data.types import Backend, Shard
from tests.data.load.loading import BACKENDS, CONFIG, eval_loader, rows, same, train_loader
from tests.data.making import imagined, picture, scanned, varied_tree


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(varied_tree(tmp_path_factory.mktemp("images")))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    yield request.param


@pytest.mark.parametrize(("resize", "crop"), [(48, 40), (40, 40), (300, 256)])
def test_evaluation_pixels_are_torchvision_s_within_one_level(
    images: Manifest, backend: Backend, resize: int, crop: int
) -> None:
    config = replace(CONFIG, eval_resize=resize, eval_crop=crop)
    transform = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop)])
    with closing(eval_loader(backend, images, 5, config)) as loader:
        found = rows(loader.epoch(0))
    assert sorted(found) == list(range(32))
    for index, pixels in found.items():
        expected = np.asarray(transform(Image.open(images.path(index)).convert("RGB"))).astype(int)
        assert np.abs(pixels - expected).max() <= 1, images.path(index)


def test_files_of_other_extensions_have_torchvision_s_pixels(tmp_path: Path, backend: Backend) -> None:
    folder = tmp_path / "train/a"
    folder.mkdir(parents=True)
    image = picture(64, 48, 1)
    frames = [picture(64, 48, seed).convert("P") for seed in (2, 3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    for name, kind in (("x.avif", "AVIF"), ("x.jfif", "JPEG"), ("x.jpe", "JPEG"), ("plain", "JPEG"), ("x.7", "PNG")):
        image.save(folder / name, kind)
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 3).save(folder / "deep.png")
    images = scanned(tmp_path)
    with closing(eval_loader(backend, images, 4)) as loader:
        found = rows(loader.epoch(0))
    transform = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(40)])
    assert len(found) == 7
    for index, pixels in found.items():
        expected = np.asarray(transform(default_loader(images.path(index)))).astype(int)
        assert np.abs(pixels - expected).max() <= 1, images.path(index)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "random"])
def test_training_pixels_are_those_of_the_plan_s_crop(
    images: Manifest, backend: Backend, interpolation: Literal["bilinear", "bicubic", "random"]
) -> None:
    """Pillow carries out the same plan; antialiased filters that differ in arithmetic stay within half a level."""
    with closing(train_loader(backend, images, replace(CONFIG, interpolation=interpolation))) as loader:
        found = rows(loader.epoch(2))
        plan = loader._plan.samples(2, 0)
        for samples in (next(plan) for _ in range(loader.batches_per_epoch)):
            assert set(samples.cubic.tolist()) <= {"bilinear": {False}, "bicubic": {True}}.get(
                interpolation, {True, False}
            )
            plans = zip(samples.indices, samples.windows, samples.flips, samples.cubic, strict=True)
            for index, window, flip, cubic in plans:
                top, left, height, width = (int(number) for number in window)
                crop = Image.open(images.path(int(index))).convert("RGB").crop((left, top, left + width, top + height))
                kind = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
                expected = np.asarray(crop.resize((40, 40), kind)).astype(int)
                apart = np.abs(found[int(index)] - (expected[:, ::-1] if flip else expected))
                assert apart.mean() < 0.5, images.path(int(index))
                assert apart.max() <= (2 if backend == "threads" else 4), images.path(int(index))


def test_padded_crops_are_black_outside_of_the_image(images: Manifest, backend: Backend) -> None:
    """Without a resize there is no filter, so that both backends give the very pixels."""
    config = InputConfig(train_size=60, crop="padded", crop_padding=8, flip=0.5)
    with closing(train_loader(backend, images, config)) as loader:
        found = rows(loader.epoch(0))
        plan = loader._plan.samples(0, 0)
        for samples in (next(plan) for _ in range(loader.batches_per_epoch)):
            for index, window, flip in zip(samples.indices, samples.windows, samples.flips, strict=True):
                top, left = (int(number) for number in window[:2])
                image = Image.open(images.path(int(index))).convert("RGB")
                expected = np.asarray(image.crop((left, top, left + 60, top + 60))).astype(int)
                assert np.array_equal(found[int(index)], expected[:, ::-1] if flip else expected)


def test_a_batch_has_the_shapes_and_types_it_promises(images: Manifest, backend: Backend) -> None:
    with closing(train_loader(backend, images)) as loader:
        batch = next(loader.epoch(0))
    assert (batch.images.shape, batch.images.dtype) == ((4, 40, 40, 3), torch.uint8)
    assert (batch.targets.dtype, batch.indices.dtype, batch.valid.dtype) == (torch.int64, torch.int64, torch.bool)
    assert torch.equal(batch.targets, torch.from_numpy(images.targets)[batch.indices])
    assert (batch.mixing.shape, batch.mixing.dtype) == ((4,), torch.float64)


AUGMENTED = replace(CONFIG, augment=AugmentConfig(policy="trivialaugment", erasing=0.5, repeats=2), drop_last=False)


NOISY = replace(
    CONFIG,
    crop="simple",
    interpolation="random",
    augment=AugmentConfig(policy="randaugment_timm", randaugment_std=0.5, erasing=0.5, erasing_fill="noise"),
)


@pytest.mark.parametrize("config", [CONFIG, AUGMENTED, NOISY], ids=["plain", "augmented", "noisy"])
@pytest.mark.parametrize("first", [1, 3])
def test_a_loader_goes_on_at_any_batch_as_if_it_had_never_stopped(
    images: Manifest, backend: Backend, first: int, config: InputConfig
) -> None:
    with (
        closing(train_loader(backend, images, config)) as straight,
        closing(train_loader(backend, images, config, threads=1)) as fresh,
    ):
        whole = [*straight.epoch(0), *straight.epoch(1)]
        resumed = [*fresh.epoch(0, first), *fresh.epoch(1)]
    assert len(whole) == 16
    assert all(same(ours, theirs) for ours, theirs in zip(resumed, whole[first:], strict=True))


def test_an_epoch_left_in_the_middle_can_be_begun_again(images: Manifest, backend: Backend) -> None:
    with closing(train_loader(backend, images)) as loader:
        source = loader.epoch(0)
        first = next(source)
        next(source)
        assert same(next(loader.epoch(0)), first)


@pytest.mark.parametrize("config", [CONFIG, NOISY], ids=["plain", "noisy"])
def test_two_ranks_share_what_one_sees(images: Manifest, backend: Backend, config: InputConfig) -> None:
    with closing(train_loader(backend, images, config)) as loader:
        alone = list(loader.epoch(0))
    pair = []
    for rank in (0, 1):
        with closing(train_loader(backend, images, config, shard=Shard(rank, 2))) as loader:
            pair.append(list(loader.epoch(0)))
    dealt = [batch for together in zip(*pair, strict=True) for batch in together]
    assert all(same(ours, theirs) for ours, theirs in zip(dealt, alone, strict=True))


def test_evaluation_can_be_repeated(images: Manifest, backend: Backend) -> None:
    with closing(eval_loader(backend, images, 7)) as loader:
        first, second = list(loader.epoch(0)), list(loader.epoch(1))
    assert all(same(ours, theirs) for ours, theirs in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "policy", ["randaugment", "trivialaugment", "autoaugment_imagenet", "randaugment_timm", "three_augment"]
)
def test_both_backends_choose_the_same_augmentations(images: Manifest, policy: str) -> None:
    """Pixels differ by rounding before the augmentation, which may enlarge it; another choice differs by far more."""
    augment = AugmentConfig(policy=policy, erasing=0.5)  # pyright: ignore[reportArgumentType]
    config = replace(CONFIG, augment=augment, interpolation="random")
    found = []
    for backend in BACKENDS:
        with closing(train_loader(backend, images, config)) as loader:
            found.append(list(loader.epoch(1)))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours.indices, theirs.indices)
        apart = (ours.images.int() - theirs.images.int()).abs().float().mean(dim=(1, 2, 3))
        assert apart.median() < 1
        assert apart.max() < 12


def test_the_training_size_changes_within_an_epoch(images: Manifest, backend: Backend) -> None:
    config = replace(CONFIG, train_size=96, start_size=32, growth_epochs=(0.0, 1.0))
    with closing(train_loader(backend, images, config)) as loader:
        sides = [batch.images.shape[1] for epoch in (0, 1) for batch in loader.epoch(epoch)]
    assert sides == [32] * 4 + [64] * 4 + [96] * 8


FOUR = imagined(np.full(4, 32), np.full(4, 32))
RAWS = replace(FOUR, formats=FOUR.formats * 0 + RAW)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("wanted", "images", "device", "cpus", "begun", "chosen", "reason"),
    [
        (None, FOUR, CPU, 64, None, "threads", "the fastest on CPUs"),
        (None, FOUR, GPU, 6, None, "threads", "6 feed any GPU; this process has 6"),
        (None, FOUR, GPU, 24, None, "threads", "this process has 24"),
        (None, FOUR, GPU, 5, None, "dali_gpu", "5 CPUs of this process may not feed it"),
        (None, FOUR, torch.device("cuda"), 1, None, "dali_gpu", "may not feed it"),
        (None, RAWS, GPU, 1, None, "threads", "nothing to decode"),
        ("dali", FOUR, GPU, 1, None, "dali", "as asked for"),
        ("dali_gpu", FOUR, GPU, 64, "dali_gpu", "dali_gpu", "as asked for"),
        (None, FOUR, GPU, 64, "dali_gpu", "dali_gpu", "as the run began"),
        (None, FOUR, GPU, 1, "threads", "threads", "as the run began"),
        (None, FOUR, CPU, 2, "dali", "dali", "as the run began"),
        ("threads", FOUR, GPU, 1, "dali_gpu", "threads", "as asked for; the run began with dali_gpu, whose pixels"),
        (None, FOUR, CPU, 2, "dali_gpu", "threads", "the fastest on CPUs; the run began with dali_gpu, whose pixels"),
        (None, FOUR, GPU, 8, "of a later version", "threads", "the run began with of a later version"),
    ],
)
def test_the_backend_is_chosen_by_the_machine_the_images_and_the_run(
    wanted: Backend | None,
    images: Manifest,
    device: torch.device,
    cpus: int,
    begun: Any,
    chosen: Backend,
    reason: str,
) -> None:
    found = choose(wanted, images, device, cpus, begun)
    assert found.backend == chosen
    assert reason in found.reason


def test_a_gpu_without_dali_is_fed_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia", None)  # as where it is not installed
    found = choose(None, FOUR, GPU, 2)
    assert (found.backend, found.reason) == ("threads", "NVIDIA DALI is not installed")


def test_a_backend_that_cannot_work_here_is_refused() -> None:
    with pytest.raises(UnusableBackendError, match="--loader dali_gpu: there is no GPU; use --loader threads"):
        choose("dali_gpu", FOUR, CPU, 2)
    with pytest.raises(UnusableBackendError, match="raw pixels"):
        choose("dali", RAWS, CPU, 2)


def test_no_evaluation_is_decoded_by_the_gpu() -> None:
    assert [evaluating(backend) for backend in get_args(Backend)] == ["threads", "dali", "dali"]


def test_a_closed_loader_leaves_no_threads_and_no_files(images: Manifest, backend: Backend) -> None:
    def threads() -> set[str]:
        return {entry.name for entry in Path("/proc/self/task").iterdir()}

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with closing(train_loader(backend, images, threads=4)) as loader:
        next(loader.epoch(0))  # starts what a library starts once
    gc.collect()
    before = threads(), files()
    gc.disable()  # which would end what is only forgotten
    try:
        loader = train_loader(backend, images, threads=4)
        next(loader.epoch(0))
        assert threads() - before[0]
        loader.close()
        deadline = time.monotonic() + 30  # Python's join comes back a moment before the kernel's thread is gone
        while threads() - before[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not threads() - before[0]
        assert files() == before[1]
    finally:
        gc.enable()
