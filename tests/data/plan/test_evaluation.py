import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as tv

from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan
from data.plan.samples import Samples
from data.types import Shard
from tests.data.making import imagined

RNG = np.random.default_rng(0)
IMAGES = imagined(RNG.integers(100, 900, 1003), RNG.integers(100, 900, 1003))
ONE = EvalViews.of(InputConfig())
FIVE = EvalViews(side=224, resize=256, five=True)


def plan(shard: Shard | None = None, batch: int = 16, views: EvalViews = ONE) -> EvalPlan:
    return EvalPlan(manifest=IMAGES, views=views, batch=batch, shard=shard or Shard())


def one_pass(plan: EvalPlan) -> list[Samples]:
    source = plan.samples(0, 0)
    return [next(source) for _ in range(plan.batches_per_epoch)]


@pytest.mark.parametrize("views", [ONE, FIVE], ids=["one view", "five"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [1, 16, 100])
def test_each_image_is_visited_once_in_equally_many_batches(world_size: int, batch: int, views: EvalViews) -> None:
    count = 5 if views.five else 1
    ranks = [one_pass(plan(Shard(rank, world_size), batch, views)) for rank in range(world_size)]
    assert len({len(samples) for samples in ranks}) == 1
    seen = np.concatenate([s.indices[s.valid] for samples in ranks for s in samples])
    assert sorted(seen.tolist()) == sorted(list(range(1003)) * count)
    assert (
        {len(s.indices) for samples in ranks for s in samples}
        == {batch * count}
        == {plan(None, batch, views).max_batch}
    )


def test_a_pass_goes_on_at_any_batch_and_over_its_end() -> None:
    whole = one_pass(plan())
    source = plan().samples(3, 60)
    for expected in [*whole[60:], whole[0]]:
        assert np.array_equal(next(source).indices, expected.indices)


def test_the_views_of_an_image_follow_each_other() -> None:
    first = next(plan(batch=3, views=FIVE).samples(0, 0))
    assert first.indices.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert (first.sizes.reshape(3, 5, 2) == first.sizes[::5][:, None]).all()


@pytest.mark.parametrize(
    ("width", "height", "resize", "side"),
    [(500, 375, 256, 224), (375, 500, 256, 224), (301, 199, 255, 224), (200, 41, 64, 64), (90, 91, 257, 224)],
)
def test_five_views_are_torchvision_s_five_crop(width: int, height: int, resize: int, side: int) -> None:
    """An image whose pixels say where they are."""
    images = imagined(np.array([width]), np.array([height]))
    views = EvalViews(side=side, resize=resize, five=True)
    samples = next(EvalPlan(manifest=images, views=views, batch=1, shard=Shard()).samples(0, 0))
    ((tall, wide),) = np.unique(samples.sizes, axis=0).tolist()
    assert (wide, tall) == tv.resize(Image.new("L", (width, height)), [resize]).size  # pyright: ignore[reportArgumentType,reportAttributeAccessIssue]
    places = np.arange(tall * wide, dtype=np.int32).reshape(tall, wide)
    crops = tv.five_crop(Image.fromarray(places), [side, side])  # pyright: ignore[reportArgumentType]
    theirs = [divmod(int(np.asarray(crop)[0, 0]), wide) for crop in crops]
    top_left, top_right, bottom_left, bottom_right, centre = theirs
    assert [tuple(corner) for corner in samples.corners.tolist()] == [
        top_left,
        top_right,
        bottom_left,
        bottom_right,
        centre,
    ]


def test_a_square_of_the_whole_image_is_cut_from_nothing() -> None:
    samples = next(plan(views=EvalViews(side=96, resize=None), batch=4).samples(0, 0))
    assert samples.sizes.tolist() == [[96, 96]] * 4
    assert samples.corners.tolist() == [[0, 0]] * 4
    assert samples.windows[:, 2].tolist() == IMAGES.heights[:4].tolist()


def test_how_pixels_are_made_is_passed_on() -> None:
    views = EvalViews(side=224, resize=256, interpolation="bicubic")
    samples = next(plan(views=views).samples(0, 0))
    assert (samples.interpolation(0), samples.exact, samples.flips.any()) == ("bicubic", True, False)


@pytest.mark.parametrize(("views", "lost"), [(ONE, [8]), (FIVE, [5, 6, 7, 8, 9])])
def test_an_image_that_is_replaced_counts_nowhere_with_all_its_views(views: EvalViews, lost: list[int]) -> None:
    two = plan(views=views)
    before = next(two.samples(0, 0))
    replaced = two.replaced(before, 8, 900)
    assert np.flatnonzero(~replaced.valid).tolist() == lost
    assert set(replaced.indices[lost].tolist()) == {900}
    assert replaced.windows[8].tolist() == [0, 0, IMAGES.heights[900], IMAGES.widths[900]]
    others = np.setdiff1d(np.arange(len(before.indices)), lost)
    assert np.array_equal(replaced.corners[others], before.corners[others])
