"""DALI on a GPU: `cuda` without a number throughout, as a single process has it."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from data.catalog.manifest import Manifest
from data.load.backends import evaluating, open_loader
from data.load.loader import PlanLoader
from data.plan.config import AugmentConfig, EvalViews, InputConfig
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Backend, Shard
from tests.data.load.loading import CONFIG
from tests.data.making import picture, scanned, varied_tree

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.fixture
def images(tmp_path: Path) -> Manifest:
    return scanned(varied_tree(tmp_path))


def loader(backend: Backend, images: Manifest, config: InputConfig = CONFIG, max_broken: float = 0.0) -> PlanLoader:
    plan = TrainPlan(manifest=images, config=config, seed=3, global_batch=8, micro_batch=4, shard=Shard())
    return open_loader(plan, backend, device=CUDA, threads=2, max_broken=max_broken)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        InputConfig(train_size=60, crop="padded", crop_padding=8),
        replace(CONFIG, augment=AugmentConfig(erasing=0.5)),
    ],
    ids=["resized", "padded", "erased"],
)
def test_training_pixels_are_those_of_threads_by_rounding(images: Manifest, config: InputConfig) -> None:
    """Greyscale, CMYK and PNG files are among them, which Pillow decodes for a GPU, too."""
    with closing(loader("dali_gpu", images, config)) as on_gpu, closing(loader("threads", images, config)) as on_cpu:
        for ours, theirs in zip(on_gpu.epoch(0), on_cpu.epoch(0), strict=True):
            assert ours.images.is_cuda
            assert torch.equal(ours.indices, theirs.indices)
            apart = (ours.images.cpu().int() - theirs.images.int()).abs().float().mean(dim=(1, 2, 3))
            assert apart.max() < 0.5, apart


@pytest.mark.parametrize("backend", ["threads", "dali"])
def test_batches_of_the_host_are_page_locked(images: Manifest, backend: Backend) -> None:
    with closing(loader(backend, images)) as source:
        assert next(source.epoch(0)).images.is_pinned()


def test_an_evaluation_beside_dali_gpu_is_decoded_on_the_host(images: Manifest) -> None:
    plan = EvalPlan(manifest=images, views=EvalViews.of(CONFIG), batch=5, shard=Shard())
    with closing(open_loader(plan, evaluating("dali_gpu"), device=CUDA, threads=2, max_broken=0.0)) as source:
        batch = next(source.epoch(0))
    assert (batch.images.device.type, batch.images.is_pinned()) == ("cpu", True)


def test_a_batch_stays_as_it_is_while_kernels_wait_to_read_it(images: Manifest) -> None:
    """Memory that queued kernels still read must not be the next batch's."""
    with closing(loader("dali_gpu", images)) as source:
        expected = [int(batch.images.int().sum()) for epoch in range(4) for batch in source.epoch(epoch)]
    with closing(loader("dali_gpu", images)) as source:
        sums = list[torch.Tensor]()
        for epoch in range(4):
            for batch in source.epoch(epoch):
                torch.cuda._sleep(20_000_000)  # some 10 ms before the batch is read
                sums.append(batch.images.int().sum())
    assert [int(total) for total in sums] == expected


def test_a_damaged_scan_is_replaced_and_counted(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / "train" / "a").mkdir(parents=True, exist_ok=True)
        picture(40, 40, number).save(tmp_path / "train" / "a" / f"{number}.JPEG")
    images = scanned(tmp_path)
    content = images.path(3).read_bytes()
    sound = content.index(b"\xff\xda") + 100
    images.path(3).write_bytes(content[:sound].ljust(len(content), b"\0"))
    with pytest.raises(OSError, match="truncated"), Image.open(images.path(3)) as image:
        image.load()
    with closing(loader("dali_gpu", images, max_broken=0.5)) as source:
        batches = list(source.epoch(0))
    assert [len(batch.broken) for batch in batches if batch.refusals] == [1]
