from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from data.plan import crops
from data.plan.config import AugmentConfig, InputConfig
from data.plan.plan import TrainPlan, training_sizes
from data.plan.samples import Samples
from data.types import Shard
from tests.data.making import imagined

RNG = np.random.default_rng(0)
IMAGES = imagined(RNG.integers(100, 900, 1003), RNG.integers(100, 900, 1003))
AUGMENTED = AugmentConfig(policy="randaugment", erasing=0.3, color_jitter=(0.2, 0.2, 0.2, 0.1))


def train_plan(*, shard: Shard | None = None, config: InputConfig | None = None, micro_batch: int = 4) -> TrainPlan:
    return TrainPlan(
        manifest=IMAGES,
        config=config or InputConfig(augment=AUGMENTED),
        seed=0,
        global_batch=24,
        micro_batch=micro_batch,
        shard=shard or Shard(),
    )


def one_epoch(plan: TrainPlan, epoch: int = 0) -> list[Samples]:
    source = plan.samples(epoch, 0)
    return [next(source) for _ in range(plan.batches_per_epoch)]


def fields(samples: Samples) -> Iterator[np.ndarray]:
    for name in Samples.__slots__:
        value = getattr(samples, name)
        if name == "choices" and value is not None:
            yield from (getattr(value, column) for column in value.__slots__)
        elif name != "choices":
            yield np.asarray(value)


def same(ours: Samples, theirs: Samples) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(fields(ours), fields(theirs), strict=True))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
@pytest.mark.parametrize("epoch", [0, 5])
def test_ranks_share_an_epoch_without_overlap_and_micro_batches_are_the_same_at_every_world_size(
    world_size: int, epoch: int, drop_last: bool
) -> None:
    config = InputConfig(augment=AUGMENTED, drop_last=drop_last)
    ranks = [one_epoch(train_plan(shard=Shard(rank, world_size), config=config), epoch) for rank in range(world_size)]
    dealt = [samples for together in zip(*ranks, strict=True) for samples in together]
    alone = one_epoch(train_plan(config=config), epoch)
    assert all(same(ours, theirs) for ours, theirs in zip(dealt, alone, strict=True))
    seen = np.concatenate([samples.indices[samples.valid] for samples in dealt]).tolist()
    assert len(seen) == len(set(seen)) == (1003 // 24 * 24 if drop_last else 1003)


@pytest.mark.parametrize(("images", "valid"), [(24 + 19, [3, 3, 3, 3, 3, 4]), (24 + 2, [0, 0, 1, 0, 0, 1])])
def test_the_last_images_are_spread_over_full_micro_batches(images: int, valid: list[int]) -> None:
    plan = replace(
        train_plan(config=InputConfig(drop_last=False)), manifest=imagined(np.full(images, 100), np.full(images, 100))
    )
    last = one_epoch(plan)[6:]
    assert [int(samples.valid.sum()) for samples in last] == valid
    assert {len(samples.indices) for samples in last} == {4}
    assert all(set(samples.indices) <= set(samples.indices[samples.valid]) for samples in last if samples.valid.any())


def test_images_are_counted() -> None:
    plan = train_plan(config=InputConfig(drop_last=False))
    assert (plan.steps_per_epoch, plan.images_in(0), plan.images_in(41), plan.images_in(42)) == (42, 24, 19, 24)
    assert [plan.images_seen(steps) for steps in (0, 1, 41, 42, 43)] == [0, 24, 984, 1003, 1027]
    dropping = train_plan()
    assert (dropping.steps_per_epoch, dropping.images_in(40), dropping.images_seen(42)) == (41, 24, 42 * 24)


@pytest.mark.parametrize("first", [0, 1, 17, 245, 251])
def test_a_plan_goes_on_at_any_batch_and_over_the_end_of_the_epoch(first: int) -> None:
    plan = train_plan()
    assert plan.batches_per_epoch == 1003 // 24 * 6 == 246
    whole = one_epoch(plan, 4) + one_epoch(plan, 5)
    source = plan.samples(4 + first // 246, first % 246)
    assert all(same(next(source), expected) for expected in whole[first : first + 20])


def test_flips_come_as_often_as_asked() -> None:
    flips = np.concatenate([samples.flips for samples in one_epoch(train_plan())])
    assert 0.45 < flips.mean() < 0.55


def test_an_image_is_flipped_where_its_draw_is_below_the_probability() -> None:
    draw = float(one_epoch(train_plan())[0].draws[0, -1])
    flips = [one_epoch(train_plan(config=InputConfig(flip=flip)))[0].flips[0] for flip in (draw, draw + 1e-9)]
    assert flips == [False, True]


@pytest.mark.parametrize("crop", ["resized", "padded"])
def test_windows_are_those_of_the_kind_of_crop(crop: Literal["resized", "padded"]) -> None:
    plan = train_plan(config=InputConfig(crop=crop, crop_area=(0.25, 0.5), crop_padding=7, train_size=64))
    samples = one_epoch(plan)[3]
    widths, heights = IMAGES.widths[samples.indices], IMAGES.heights[samples.indices]
    expected = {
        "resized": crops.resized(samples.draws, widths, heights, (0.25, 0.5)),
        "padded": crops.padded(samples.draws, widths, heights, padding=7, side=64),
    }
    assert samples.windows.tolist() == expected[crop].tolist()
    assert plan.padded == (crop == "padded")
    assert not samples.exact


def test_repeated_images_come_in_a_row_each_cropped_anew() -> None:
    plan = train_plan(config=InputConfig(augment=AugmentConfig(repeats=3)))
    samples = one_epoch(plan)
    indices = np.concatenate([batch.indices for batch in samples])
    windows = np.concatenate([batch.windows for batch in samples])
    assert len(indices) == 984
    groups = indices[:984].reshape(-1, 3)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 328
    assert np.mean((windows[0::3] == windows[1::3]).all(axis=1)) < 0.05


def test_the_training_size_grows_step_by_step() -> None:
    plan = train_plan(config=InputConfig(train_size=224, start_size=128, growth_epochs=(1, 3)))
    sides = [plan.side_at(epoch, step) for epoch in range(4) for step in range(plan.steps_per_epoch)]
    steps = plan.steps_per_epoch
    assert sides[: steps + 1] == [128] * (steps + 1)
    assert sides == sorted(sides)
    assert sorted(set(sides)) == [128, 160, 192, 224]
    assert sides[3 * steps - 1] == 192
    assert sides[3 * steps] == 224
    assert len({sides[step] for step in range(steps, 2 * steps)}) > 1  # within an epoch
    assert next(plan.samples(1, 0)).sizes.tolist() == [[128, 128]] * 4


@pytest.mark.parametrize(("start", "end"), [(128, 224), (128, 225), (100, 131), (100, 132), (None, 224), (160, 192)])
def test_the_training_sizes_are_counted(start: int | None, end: int) -> None:
    plan = train_plan(config=InputConfig(train_size=end, start_size=start, growth_epochs=(0, 3)))
    sides = {plan.side_at(epoch, step) for epoch in range(4) for step in range(plan.steps_per_epoch)}
    assert training_sizes(plan.config) == len(sides)


def test_a_replaced_image_is_cropped_by_the_same_draws() -> None:
    plan = train_plan()
    samples = next(plan.samples(0, 0))
    again = plan.replaced(plan.replaced(samples, 2, 7), 2, int(samples.indices[2]))
    assert same(again, samples)
    assert plan.replaced(samples, 2, 7).indices.tolist() == [*samples.indices[:2], 7, samples.indices[3]]


def test_mixing_draws_differ_between_batches_and_not_between_world_sizes() -> None:
    alone = [samples.mixing.tolist() for samples in one_epoch(train_plan())]
    assert len({tuple(draws) for draws in alone}) == len(alone)
    pair = [one_epoch(train_plan(shard=Shard(rank, 2))) for rank in (0, 1)]
    assert [samples.mixing.tolist() for both in zip(*pair, strict=True) for samples in both] == alone


def test_half_of_the_crops_have_another_interpolation_and_nothing_else_changes() -> None:
    drawn = one_epoch(train_plan(config=InputConfig(augment=AUGMENTED, interpolation="random")))
    cubic = np.concatenate([samples.cubic for samples in drawn])
    flips = np.concatenate([samples.flips for samples in drawn])
    four = np.bincount(2 * cubic + flips)
    assert (np.abs(four - len(cubic) / 4) < 6 * np.sqrt(len(cubic) * 3 / 16)).all()  # independent of the flip, too
    none = np.zeros(4, bool)
    plain = [replace(samples, cubic=none) for samples in drawn]
    assert all(same(ours, theirs) for ours, theirs in zip(plain, one_epoch(train_plan()), strict=True))
