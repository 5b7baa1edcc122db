from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from data.catalog.manifest import Manifest
from data.load.backends import open_loader
from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.types import Backend, Shard
from tests.data.load.loading import BACKENDS
from tests.data.making import scanned, varied_tree

BICUBIC = InterpolationMode.BICUBIC
CENTER = transforms.CenterCrop(40)
CASES = {
    "five": (EvalViews(side=40, resize=48, five=True), [transforms.Resize(48), transforms.FiveCrop(40)]),
    "bicubic": (
        EvalViews(side=40, resize=48, interpolation="bicubic"),
        [transforms.Resize(48, interpolation=BICUBIC), CENTER],
    ),
    "square": (EvalViews(side=40, resize=None), [transforms.Resize((40, 40))]),
    "bicubic square": (
        EvalViews(side=40, resize=None, interpolation="bicubic"),
        [transforms.Resize((40, 40), interpolation=BICUBIC)],
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(varied_tree(tmp_path_factory.mktemp("images")))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_view_has_torchvision_s_pixels(images: Manifest, backend: Backend, case: str) -> None:
    """The very pixels by threads, and by DALI within one level."""
    views, steps = CASES[case]
    transform = transforms.Compose(steps)
    plan = EvalPlan(manifest=images, views=views, batch=5, shard=Shard())
    seen = list[int]()
    with closing(open_loader(plan, backend, device=torch.device("cpu"), threads=2, max_broken=0.0)) as loader:
        for batch in loader.epoch(0):
            several = zip(*(column.unflatten(0, (5, -1)) for column in (batch.images, batch.indices)), strict=True)
            for squares, (index, *_) in several:
                expected: Any = transform(Image.open(images.path(int(index))).convert("RGB"))
                theirs = np.stack([np.asarray(crop) for crop in (expected if views.five else [expected])])
                apart = np.abs(squares.numpy().astype(int) - theirs.astype(int)).max()
                assert apart <= (0 if backend == "threads" else 1), images.path(int(index))
                seen.append(int(index))
    assert sorted(set(seen)) == list(range(32))


def test_a_broken_image_is_replaced_by_a_black_one_where_it_counts_nowhere(images: Manifest) -> None:
    size = images.sizes.copy()
    size[0] += 1  # not the file that was listed
    plan = EvalPlan(manifest=replace(images, sizes=size), views=CASES["five"][0], batch=16, shard=Shard())
    with closing(open_loader(plan, "threads", device=torch.device("cpu"), threads=2, max_broken=0.5)) as loader:
        first = next(loader.epoch(0))
    assert first.valid.tolist() == [False] * 5 + [True] * 75
    assert first.images.flatten(1).any(1).tolist() == first.valid.tolist()
    assert {image.name for image in first.broken} == {images.label(0)}
