import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from data.config import InputConfig
from data.plan import DRAWS, EvalPlan, Samples, TrainPlan, crop_windows, eval_sizes, order, uniforms
from data.types import Shard

RNG = np.random.default_rng(0)
WIDTHS, HEIGHTS = RNG.integers(1, 900, (2, 1003))


def train_plan(*, global_batch: int = 24, micro_batch: int = 4, shard: Shard | None = None, seed: int = 0) -> TrainPlan:
    return TrainPlan(
        widths=WIDTHS,
        heights=HEIGHTS,
        config=InputConfig(),
        seed=seed,
        global_batch=global_batch,
        micro_batch=micro_batch,
        shard=shard or Shard(),
    )


def eval_plan(shard: Shard, batch: int = 16) -> EvalPlan:
    return EvalPlan(widths=WIDTHS, heights=HEIGHTS, config=InputConfig(), batch=batch, shard=shard)


def one_epoch(plan: TrainPlan | EvalPlan, epoch: int = 0) -> list[Samples]:
    source = plan.samples(epoch, 0)
    return [next(source) for _ in range(plan.batches_per_epoch)]


def same(ours: Samples, theirs: Samples) -> bool:
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in Samples.__slots__)


def test_the_order_is_a_permutation_and_another_one_each_epoch_and_seed() -> None:
    orders = [order(seed, epoch, 1000) for seed in (0, 1) for epoch in range(3)]
    assert all(np.array_equal(np.sort(found), np.arange(1000)) for found in orders)
    assert all((a == b).mean() < 0.01 for i, a in enumerate(orders) for b in orders[:i])


def test_order_and_draws_are_these_for_ever() -> None:
    """A change of these numbers is a change of every experiment."""
    assert order(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert order(7, 3, 10).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]
    assert uniforms(0, 0, 5, 1)[0, :2].tolist() == [0.2135764196266965, 0.369393134464882]
    assert uniforms(7, 3, 0, 1)[0, :2].tolist() == [0.9424616442052944, 0.4166552001828453]


def test_draws_follow_from_the_position_alone() -> None:
    whole = uniforms(3, 2, 0, 50)
    assert whole.shape == (50, DRAWS)
    assert all(np.array_equal(uniforms(3, 2, first, 7), whole[first : first + 7]) for first in (0, 1, 2, 13, 43))
    assert not np.array_equal(uniforms(3, 3, 0, 50), whole)


def test_draws_are_uniform() -> None:
    draws = uniforms(0, 0, 0, 20_000)
    counts = np.stack([np.histogram(column, bins=10, range=(0, 1))[0] for column in draws.T])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (np.abs(counts - 2000) < 6 * 42).all()  # 42: standard deviation of a bin's count


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
@pytest.mark.parametrize("epoch", [0, 5])
def test_ranks_share_an_epoch_without_overlap_and_micro_batches_are_the_same_at_every_world_size(
    world_size: int, epoch: int
) -> None:
    ranks = [one_epoch(train_plan(shard=Shard(rank, world_size)), epoch) for rank in range(world_size)]
    dealt = [samples for together in zip(*ranks, strict=True) for samples in together]
    alone = one_epoch(train_plan(), epoch)
    assert all(same(ours, theirs) for ours, theirs in zip(dealt, alone, strict=True))
    seen = np.concatenate([samples.indices for samples in dealt])
    assert len(seen) == len(set(seen.tolist())) == 1003 // 24 * 24


@pytest.mark.parametrize("first", [0, 1, 17, 245, 251])
def test_a_plan_goes_on_at_any_batch_and_over_the_end_of_the_epoch(first: int) -> None:
    plan = train_plan()
    assert plan.batches_per_epoch == 1003 // 24 * 6 == 246
    whole = one_epoch(plan, 4) + one_epoch(plan, 5)
    source = plan.samples(4 + first // 246, first % 246)
    assert all(same(next(source), expected) for expected in whole[first : first + 20])


def test_crops_lie_inside_the_image() -> None:
    top, left, height, width = crop_windows(uniforms(0, 0, 0, 1003), WIDTHS, HEIGHTS, (0.08, 1.0)).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (height > 0).all()
    assert (width > 0).all()
    assert (top + height <= HEIGHTS).all()
    assert (left + width <= WIDTHS).all()


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (200, 200), (1000, 100), (50, 600)])
def test_crops_have_the_distribution_of_torchvision_s(width: int, height: int) -> None:
    """Two samples of 4,000: Kolmogorov-Smirnov distances of sides and corners stay under the 0.1 % critical value."""
    count = 4000
    ours = crop_windows(uniforms(1, 0, 0, count), np.full(count, width), np.full(count, height), (0.08, 1.0))
    image = Image.new("L", (width, height))
    torch.manual_seed(0)
    draw = transforms.RandomResizedCrop.get_params
    theirs = np.array([draw(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])  # pyright: ignore[reportArgumentType]
    for column in range(4):
        grid = np.arange(max(width, height) + 1)
        cdfs = [np.searchsorted(np.sort(sample[:, column]), grid, "right") / count for sample in (ours, theirs)]
        assert np.abs(cdfs[0] - cdfs[1]).max() < 1.95 * np.sqrt(2 / count)


def test_flips_come_as_often_as_asked() -> None:
    flips = np.concatenate([samples.flips for samples in one_epoch(train_plan())])
    assert 0.45 < flips.mean() < 0.55


@pytest.mark.parametrize("shorter", [32, 72, 256])
def test_eval_sizes_are_torchvision_s(shorter: int) -> None:
    resize = transforms.Resize(shorter)
    for width, height in [(500, 375), (375, 500), (300, 300), (501, 333), (127, 94), (33, 900)]:
        expected = resize(Image.new("L", (width, height))).size
        ((h, w),) = eval_sizes(np.array([width]), np.array([height]), shorter)
        assert (w, h) == expected


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [1, 16, 100])
def test_evaluation_visits_each_image_once_in_equally_many_batches(world_size: int, batch: int) -> None:
    ranks = [one_epoch(eval_plan(Shard(rank, world_size), batch)) for rank in range(world_size)]
    assert len({len(samples) for samples in ranks}) == 1
    seen = np.concatenate([s.indices[s.valid] for samples in ranks for s in samples])
    assert sorted(seen.tolist()) == list(range(1003))
    assert {len(s.indices) for samples in ranks for s in samples} == {batch}
