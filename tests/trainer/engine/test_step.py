import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as transforms

from data.plan.config import AugmentConfig, InputConfig
from data.plan.draws import normals
from data.types import Batch
from models.config import ModelConfig
from trainer import metrics
from trainer.engine.state import TrainState
from trainer.engine.step import Normalize, TrainStep, draw_seed
from trainer.optim.config import AnyOptimizer, EmaConfig, LambConfig, LossConfig, MixingConfig, SgdConfig
from trainer.optim.ema import Ema
from trainer.optim.mixing import Mixing
from trainer.optim.optimizer import build_optimizer
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime
from trainer.world import World

RECIPE = Recipe(
    model=ModelConfig(name="resnet20", num_classes=4),
    optimizer=SgdConfig(lr=0.1, momentum=0),
    precision="fp32",
    global_batch=12,
    micro_batch=12,
)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


def batch(count: int) -> Batch:
    generator = torch.Generator().manual_seed(count)
    return Batch(
        images=torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8, generator=generator),
        targets=torch.randint(0, 4, (count,), generator=generator),
        indices=torch.arange(count),
        valid=torch.ones(count, dtype=torch.bool),
        mixing=torch.zeros(4),
    )


def part(whole: Batch, rows: slice | torch.Tensor) -> Batch:
    return Batch(whole.images[rows], whole.targets[rows], whole.indices[rows], whole.valid[rows], whole.mixing)


def network(dropout: float = 0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(3 * 64, 4))


def fresh(runtime: Runtime, model: nn.Module, recipe: Recipe = RECIPE) -> TrainState:
    return TrainState(
        model=model,
        optimizer=build_optimizer(model, recipe.optimizer),
        scaler=runtime.scaler,
        ema=Ema(model, recipe.ema) if recipe.ema.decay else None,
        sums=metrics.empty(runtime.device),
        faults=torch.tensor([-math.inf, 0.0], dtype=torch.float64),
    )


def stepper(runtime: Runtime, state: TrainState, recipe: Recipe = RECIPE) -> TrainStep:
    normalize = Normalize(recipe.input, runtime.device, channels_last=False)
    return TrainStep(runtime, state.model, state, normalize, recipe)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def trained(runtime: Runtime, batches: list[Batch], recipe: Recipe = RECIPE, *, dropout: float = 0) -> torch.Tensor:
    state = fresh(runtime, network(dropout), recipe)
    images = sum(int(batch.valid.sum()) for batch in batches)
    stepper(runtime, state, recipe)(batches, step=0, lr=0.1, images=images)
    return weights(state.model)


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_are_normalised_as_torchvision_does(channels_last: bool) -> None:
    images, config = batch(3).images, InputConfig()
    found = Normalize(config, torch.device("cpu"), channels_last=channels_last)(images)
    scaled = images.permute(0, 3, 1, 2).float() / 255  # (N, H, W, C) -> (N, C, H, W)
    torch.testing.assert_close(found, transforms.normalize(scaled, list(config.mean), list(config.std)))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert found.is_contiguous(memory_format=layout)


def test_micro_batches_give_the_update_of_the_whole_batch(runtime: Runtime) -> None:
    whole = batch(12)
    parts = [part(whole, slice(start, start + 4)) for start in (0, 4, 8)]
    torch.testing.assert_close(trained(runtime, parts), trained(runtime, [whole]))


def test_rows_that_are_not_valid_weigh_nothing(runtime: Runtime) -> None:
    whole = batch(12)
    filled = [part(whole, slice(start, start + 4)) for start in (0, 4)]
    filled = [replace(filled[0], valid=torch.tensor([True, True, True, False])), filled[1]]
    torch.testing.assert_close(
        trained(runtime, filled), trained(runtime, [part(whole, torch.tensor([0, 1, 2, 4, 5, 6, 7]))])
    )


def test_label_smoothing_reaches_the_loss(runtime: Runtime) -> None:
    plain, smooth = (
        trained(runtime, [batch(4)], replace(RECIPE, loss=LossConfig(label_smoothing=value))) for value in (0.0, 0.1)
    )
    assert not torch.equal(plain, smooth)


def test_the_sums_are_those_of_all_images(runtime: Runtime) -> None:
    model = network()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    halves = [part(batch(8), slice(0, 4)), part(batch(8), slice(4, 8))]
    loss, _, top5, images, *_ = stepper(runtime, fresh(runtime, model))(halves, step=0, lr=0.0, images=8).tolist()
    assert loss == pytest.approx(8 * torch.tensor(4.0).log().item())  # all logits equal: ln(classes) an image
    assert (top5, images) == (8, 8)


def test_a_gradient_longer_than_the_limit_is_scaled_down_to_it(runtime: Runtime) -> None:
    """Plain SGD moves the weights by lr times the gradient."""
    start = weights(network())
    free, limited = (trained(runtime, [batch(12)], replace(RECIPE, clip_norm=limit)) - start for limit in (None, 0.5))
    assert free.norm() > 0.1
    assert limited.norm().item() == pytest.approx(0.1 * 0.5, rel=1e-4)
    torch.testing.assert_close(limited / limited.norm(), free / free.norm(), atol=1e-4, rtol=0)
    torch.testing.assert_close(trained(runtime, [batch(12)], replace(RECIPE, clip_norm=1e6)) - start, free)


def test_a_group_s_rate_is_its_share_of_the_step_s(runtime: Runtime) -> None:
    moves = list[torch.Tensor]()
    for share in ({}, {"lr_scale": 0.5}):
        state = fresh(runtime, network())
        before = weights(state.model)
        state.optimizer.param_groups[0].update(share)
        stepper(runtime, state)([batch(12)], step=0, lr=0.1, images=12)
        moves.append(weights(state.model) - before)
    assert torch.allclose(moves[1], moves[0] / 2, atol=1e-7)
    assert moves[0].abs().max() > 1e-4


def test_the_limit_holds_for_the_gradient_of_all_micro_batches_together(runtime: Runtime) -> None:
    recipe = replace(RECIPE, clip_norm=0.5, micro_batch=4)
    parts = [part(batch(12), slice(start, start + 4)) for start in (0, 4, 8)]
    torch.testing.assert_close(trained(runtime, parts, recipe), trained(runtime, [batch(12)], recipe))


def test_mixing_reaches_the_loss_and_the_sums_keep_the_images_own_targets(runtime: Runtime) -> None:
    """With draws of a half, mixup of Beta(1, 1) blends each image half and half with its neighbour."""
    mixed = replace(batch(4), mixing=torch.full((4,), 0.5, dtype=torch.float64))
    recipe = replace(RECIPE, mixing=MixingConfig(mixup=1.0))
    state = fresh(runtime, network(), recipe)
    loss, top1, *_ = stepper(runtime, state, recipe)([mixed], step=0, lr=0.0, images=4).tolist()
    inputs = Normalize(recipe.input, runtime.device, channels_last=False)(mixed.images)
    logits = state.model((inputs + inputs.roll(1, 0)) / 2)
    one_hot = nn.functional.one_hot(mixed.targets, 4).float()
    expected = nn.functional.cross_entropy(logits, (one_hot + one_hot.roll(1, 0)) / 2, reduction="sum")
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert top1 == (logits.argmax(1) == mixed.targets).sum()


def test_the_average_follows_each_step(runtime: Runtime) -> None:
    recipe = replace(RECIPE, ema=EmaConfig(decay=0.75, warmup=False))
    state = fresh(runtime, network(), recipe)
    assert state.ema is not None
    step, before = stepper(runtime, state, recipe), weights(state.model)
    step([batch(12)], step=0, lr=0.1, images=12)
    torch.testing.assert_close(weights(state.ema.network), 0.75 * before + 0.25 * weights(state.model))


def test_the_average_that_follows_every_third_step_does_so_after_the_third(runtime: Runtime) -> None:
    """Of steps that count from 0."""
    recipe = replace(RECIPE, ema=EmaConfig(decay=0.75, every=3))
    state = fresh(runtime, network(), recipe)
    assert state.ema is not None
    step, updates = stepper(runtime, state, recipe), list[int]()
    for number in range(6):
        step([batch(12)], step=number, lr=0.1, images=12)
        updates.append(state.ema.updates)
    assert updates == [0, 0, 1, 1, 1, 2]


def test_what_the_network_sees_can_be_shown(runtime: Runtime) -> None:
    mixed = replace(batch(4), mixing=torch.full((4,), 0.5, dtype=torch.float64))
    recipe = replace(RECIPE, mixing=MixingConfig(mixup=1.0))
    images, targets = stepper(runtime, fresh(runtime, network(), recipe), recipe).as_seen(mixed)
    inputs = Normalize(recipe.input, runtime.device, channels_last=False)(mixed.images)
    one_hot = nn.functional.one_hot(mixed.targets, 4).float()
    torch.testing.assert_close(images, (inputs + inputs.roll(1, 0)) / 2)
    torch.testing.assert_close(targets, (one_hot + one_hot.roll(1, 0)) / 2)


class Fragile(nn.Module):
    """A network with BatchNorm that says NaN where the first pixel is 255."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.fc = nn.BatchNorm2d(3), nn.Linear(3 * 64, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bad = images[:, :1, :1, :1] > 2  # 255 is 2.25 in red, normalised
        return self.fc(self.norm(images.masked_fill(bad, math.nan)).flatten(1))


def good_or_bad(*, bad: bool) -> Batch:
    images = batch(12).images.clamp(max=200)
    images[0, 0, 0] = 255 if bad else 0
    return replace(batch(12), images=images)


OPTIMIZERS = (SgdConfig(momentum=0.9), LambConfig())  # a fused one, and one that has to be asked on the host


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: config.name)
def test_a_step_that_is_passed_over_leaves_everything_as_it_was(runtime: Runtime, optimizer: AnyOptimizer) -> None:
    """Weights, momentum and BatchNorm: those of a run that never saw the batch, also where it comes first."""
    recipe = replace(RECIPE, optimizer=optimizer, max_skipped=1)
    ends = []
    for order in ((True, False, True, False), (False, False)):
        state = fresh(runtime, Fragile(), recipe)
        step = stepper(runtime, state, recipe)
        sums = [step([good_or_bad(bad=bad)], number, 0.1, 12) for number, bad in enumerate(order)]
        assert [int(row[3]) for row in sums] == [0 if bad else 12 for bad in order]
        ends.append(torch.cat([weights(state.model), *(b.flatten() for b in state.model.buffers() if b.ndim)]))
    assert ends[0].isfinite().all()
    assert torch.equal(*ends)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: config.name)
def test_a_step_that_may_be_passed_over_but_need_not_is_as_any_other(runtime: Runtime, optimizer: AnyOptimizer) -> None:
    plain, tolerant = (
        trained(runtime, [batch(12)], replace(RECIPE, optimizer=optimizer, max_skipped=skipped)) for skipped in (0, 2)
    )
    assert torch.equal(plain, tolerant)
    assert not torch.equal(plain, weights(network()))


class Steep(nn.Module):
    """A network whose loss is finite and whose gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.zero = nn.Linear(3 * 64, 4), nn.Parameter(torch.zeros(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.flatten(1)) + self.zero.sqrt()


def test_a_gradient_that_is_not_finite_is_a_fault_though_the_loss_is(runtime: Runtime) -> None:
    recipe = replace(RECIPE, max_skipped=1)
    state = fresh(runtime, Steep(), recipe)
    before = weights(state.model)
    sums = stepper(runtime, state, recipe)([batch(12)], step=6, lr=0.1, images=12)
    assert state.faults.tolist() == [-7, 1]
    assert not sums.any()
    assert torch.equal(weights(state.model), before)


def test_faults_tell_the_first_step_and_how_many(runtime: Runtime) -> None:
    state = fresh(runtime, Fragile())
    step = stepper(runtime, state)
    for number, bad in enumerate((False, True, False)):  # the weights are lost with the first one
        step([good_or_bad(bad=bad)], number, 0.1, 12)
    assert state.faults.tolist() == [-2, 2]


def test_fp16_scales_its_gradients_and_passes_over_those_that_overflow() -> None:
    runtime = Runtime(World(), "fp16", threads=1)
    recipe = replace(RECIPE, precision="fp16")
    state = fresh(runtime, network(), recipe)
    step, before = stepper(runtime, state, recipe), weights(state.model)
    runtime.scaler.load_state_dict({**runtime.scaler.state_dict(), "scale": 2.0**60})
    step([batch(12)], step=0, lr=0.1, images=12)
    assert torch.equal(weights(state.model), before)
    assert runtime.scaler.get_scale() == 2.0**59
    runtime.scaler.load_state_dict({**runtime.scaler.state_dict(), "scale": 1024.0})
    step([batch(12)], step=1, lr=0.1, images=12)
    exact = trained(Runtime(World(), "fp32", threads=1), [batch(12)])
    torch.testing.assert_close(weights(state.model), exact, atol=2e-3, rtol=2e-2)
    assert state.faults[1] == 0


@pytest.mark.parametrize("count", [2, 3])
def test_batchnorm_s_statistics_move_once_in_a_step_by_the_mean_of_its_micro_batches(
    runtime: Runtime, count: int
) -> None:
    size = 12 // count
    recipe = replace(RECIPE, micro_batch=size)
    parts = [part(good_or_bad(bad=False), slice(start, start + size)) for start in range(0, 12, size)]
    state = fresh(runtime, Fragile(), recipe)
    stepper(runtime, state, recipe)(parts, step=0, lr=0.0, images=12)
    norm = state.model.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked == 1
    means = [Normalize(recipe.input, runtime.device, channels_last=False)(p.images).mean((0, 2, 3)) for p in parts]
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.stack(means).mean(0))


def test_what_dropout_draws_follows_from_the_step_alone(runtime: Runtime) -> None:
    first = trained(runtime, [batch(4)], dropout=0.5)
    torch.rand(7)
    assert torch.equal(first, trained(runtime, [batch(4)], dropout=0.5))
    assert not torch.equal(first, trained(runtime, [batch(4)], replace(RECIPE, seed=1), dropout=0.5))


def test_seeds_of_draws_are_fixed_and_differ_by_step_and_rank() -> None:
    assert draw_seed(0, 0, 0) == 15793235383387715774
    assert len({draw_seed(seed, step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)}) == 8


@pytest.mark.parametrize("channels_last", [True, False])
def test_erased_rectangles_hold_the_plan_s_normal_numbers(runtime: Runtime, channels_last: bool) -> None:
    """As timm's erasing does with these numbers, after normalisation and before images are mixed."""
    erasing = InputConfig(train_size=8, augment=AugmentConfig(erasing=0.5, erasing_fill="noise"))
    recipe = replace(RECIPE, input=erasing, mixing=MixingConfig(mixup=1.0))
    state = fresh(runtime, network(), recipe)
    step = TrainStep(
        runtime, state.model, state, Normalize(erasing, runtime.device, channels_last=channels_last), recipe
    )
    boxes = torch.tensor([[0, 0, 0, 0, 5], [1, 2, 3, 4, 100], [0, 1, 7, 1, 2**20 - 1]])
    found, targets = step.as_seen(replace(batch(3), noise=boxes, mixing=torch.full((4,), 0.3)))
    plain = Normalize(erasing, runtime.device, channels_last=channels_last)(batch(3).images)
    numbers = iter([(boxes[1], normals(136)[100:]), (boxes[2], normals(2**20 + 20)[2**20 - 1 :])])
    for image, ((top, left, height, width, _), values) in zip(plain[1:], numbers, strict=True):
        image[:, top : top + height, left : left + width] = torch.from_numpy(values).view(3, int(height), int(width))
    expected, _ = Mixing(recipe.mixing, 4)(plain, batch(3).targets, torch.full((4,), 0.3, dtype=torch.float64))
    assert torch.equal(found, expected)
    assert targets.shape == (3, 4)
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
