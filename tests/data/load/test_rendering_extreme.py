"""Images that are far longer than wide take no more memory than their crop."""

import resource
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.catalog.manifest import Manifest
from data.load import rendering
from data.load.backends import open_loader
from data.load.whole import WholeLoader, plan_of
from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan
from data.types import Backend, Shard
from tests.data.load.loading import BACKENDS, train_loader
from tests.data.making import scanned, varied_tree

ROOM = 1 << 30  # bytes; 256 x 16,768,000 pixels take twelve times as many
SIZES = ((1, 65_500), (65_500, 1), (3, 65_000), (40_000, 2))
VIEWS = [
    EvalViews(side=224, resize=256),
    EvalViews(side=224, resize=256, five=True),
    EvalViews(side=224, resize=256, interpolation="bicubic"),
    EvalViews(side=224, resize=None),
]


@pytest.fixture(scope="module")
def extremes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("extremes")
    folder = root / "train" / "a"
    folder.mkdir(parents=True)
    for number, (width, height) in enumerate(SIZES):
        ramp = np.linspace(0, 255, width * height).astype(np.uint8).reshape(height, width)
        Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], -1)).save(folder / f"{number}.JPEG")
    return scanned(root)


@pytest.fixture
def little_memory() -> Iterator[None]:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("views", VIEWS, ids=["one", "five", "bicubic", "square"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("little_memory")
def test_evaluation_takes_no_more_memory_than_the_crop(extremes: Manifest, backend: Backend, views: EvalViews) -> None:
    plan = EvalPlan(manifest=extremes, views=views, batch=2, shard=Shard())
    with closing(open_loader(plan, backend, device=torch.device("cpu"), threads=1, max_broken=0.0)) as loader:
        batches = list(loader.epoch(0))
    assert all(batch.valid.all() for batch in batches)
    middle = batches[0].images[4 if views.five else 0].float().mean(dim=(0, 1))
    assert torch.allclose(middle, torch.tensor([127.5, 127.5, 63.5]), atol=4)


@pytest.mark.parametrize("crop", ["resized", "padded"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.usefixtures("little_memory")
def test_training_takes_its_crops_of_them(extremes: Manifest, backend: Backend, crop: str) -> None:
    config = InputConfig(train_size=64, crop=crop, drop_last=False)  # pyright: ignore[reportArgumentType]
    with closing(train_loader(backend, extremes, config, threads=1)) as loader:
        batches = [*loader.epoch(0), *loader.epoch(1)]
    assert all(batch.images.shape[1:] == (64, 64, 3) for batch in batches)
    assert not any(batch.broken for batch in batches)


@pytest.mark.usefixtures("little_memory")
def test_whole_they_are_refused_with_a_reason(extremes: Manifest) -> None:
    loader = WholeLoader(plan_of(extremes, "bilinear", 2, Shard()), (224, 640), threads=1, max_broken=1.0)
    broken = [image for batch in loader.batches() for image in batch.broken]
    assert len(broken) == len(SIZES)
    assert broken[0].reason == "1x65500 pixels, 224x14672000 when scaled: too long and narrow"


@pytest.mark.parametrize("case", range(3))
def test_the_limit_changes_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: int) -> None:
    images, views = scanned(varied_tree(tmp_path)), VIEWS[case]

    def pixels() -> list[torch.Tensor]:
        plan = EvalPlan(manifest=images, views=views, batch=8, shard=Shard())
        with closing(open_loader(plan, "threads", device=torch.device("cpu"), threads=2, max_broken=0.0)) as loader:
            return [batch.images for batch in loader.epoch(0)]

    ordinary = pixels()
    monkeypatch.setattr(rendering, "LARGEST", 0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(ordinary, pixels(), strict=True))
