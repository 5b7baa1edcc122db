from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as transforms

from data.config import InputConfig
from data.types import Batch
from trainer.config import Recipe, SgdConfig
from trainer.optim import build_optimizer
from trainer.runtime import Runtime
from trainer.step import Normalize, TrainStep, draw_seed
from trainer.world import World

RECIPE = Recipe(optimizer=SgdConfig(lr=0.1, momentum=0), precision="fp32")


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


def trained(runtime: Runtime, batches: list[Batch], recipe: Recipe = RECIPE, *, dropout: float = 0) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(3 * 64, 4))
    normalize = Normalize(InputConfig(), runtime.device, channels_last=False)
    step = TrainStep(runtime, model, build_optimizer(model, recipe.optimizer), normalize, recipe)
    step(batches, step=0, lr=0.1, images=sum(int(batch.valid.sum()) for batch in batches))
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


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
    plain, smooth = (trained(runtime, [batch(4)], replace(RECIPE, label_smoothing=value)) for value in (0.0, 0.1))
    assert not torch.equal(plain, smooth)


def test_the_sums_are_those_of_all_images(runtime: Runtime) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    normalize = Normalize(InputConfig(), runtime.device, channels_last=False)
    step = TrainStep(runtime, model, build_optimizer(model, RECIPE.optimizer), normalize, RECIPE)
    halves = [part(batch(8), slice(0, 4)), part(batch(8), slice(4, 8))]
    loss, _, top5, images, _ = step(halves, step=0, lr=0.0, images=8).tolist()
    assert loss == pytest.approx(8 * torch.tensor(4.0).log().item())  # all logits equal: ln(classes) an image
    assert (top5, images) == (8, 8)


def test_what_dropout_draws_follows_from_the_step_alone(runtime: Runtime) -> None:
    first = trained(runtime, [batch(4)], dropout=0.5)
    torch.rand(7)
    assert torch.equal(first, trained(runtime, [batch(4)], dropout=0.5))
    assert not torch.equal(first, trained(runtime, [batch(4)], replace(RECIPE, seed=1), dropout=0.5))


def test_seeds_of_draws_are_fixed_and_differ_by_step_and_rank() -> None:
    assert draw_seed(0, 0, 0) == 15793235383387715774
    assert len({draw_seed(seed, step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)}) == 8
