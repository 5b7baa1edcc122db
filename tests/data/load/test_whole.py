from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from data.catalog.manifest import Manifest
from data.load.whole import WholeLoader, plan_of
from data.plan.config import Interpolation
from data.types import Shard, TooManyBrokenError
from tests.data.making import scanned, varied_tree

SCALES = (24, 57)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(varied_tree(tmp_path_factory.mktemp("images")))


def loader(
    images: Manifest, shard: Shard, interpolation: Interpolation = "bilinear", max_broken: float = 0.0
) -> WholeLoader:
    plan = plan_of(images, interpolation, 5, shard)
    return WholeLoader(plan, SCALES, threads=2, max_broken=max_broken)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_images_have_torchvision_s_pixels_at_every_scale(images: Manifest, interpolation: Interpolation) -> None:
    steps = [transforms.Resize(scale, interpolation=InterpolationMode(interpolation)) for scale in SCALES]
    for batch in loader(images, Shard(), interpolation).batches():
        for views, index, valid in zip(batch.images, batch.indices.tolist(), batch.valid.tolist(), strict=True):
            assert valid == bool(views)
            for view, resize in zip(views, steps, strict=False):
                expected = resize(Image.open(images.path(index)).convert("RGB"))
                assert torch.equal(view, torch.from_numpy(np.array(expected)))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_the_images_in_equally_many_batches(images: Manifest, world_size: int) -> None:
    ranks = [loader(images, Shard(rank, world_size)) for rank in range(world_size)]
    dealt = [list(rank.batches()) for rank in ranks]
    assert {len(batches) for batches in dealt} == {rank.batches_per_epoch for rank in ranks}
    seen = [index for batches in dealt for batch in batches for index in batch.indices[batch.valid].tolist()]
    assert sorted(seen) == list(range(32))
    assert all(torch.equal(batch.targets, torch.from_numpy(images.targets)[batch.indices]) for batch in dealt[0])


def test_a_broken_image_is_left_out_and_named(images: Manifest) -> None:
    sizes = images.sizes.copy()
    sizes[7] += 1  # not the file that was listed
    changed = replace(images, sizes=sizes)
    first, second, *_ = loader(changed, Shard(), max_broken=0.1).batches()
    assert (first.valid.tolist(), second.valid.tolist()) == ([True] * 5, [True, True, False, True, True])
    assert second.images[2] == ()
    assert [image.name for image in second.broken] == [images.label(7)]
    with pytest.raises(TooManyBrokenError):
        list(loader(changed, Shard()).batches())
