from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo
from torch._dynamo.testing import CompileCounter

from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.engine import build
from trainer.engine.step import Normalize
from trainer.optim.config import EmaConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with dynamo.patch(recompile_limit=8, accumulated_recompile_limit=256):
        yield
    torch.compiler.reset()


def test_each_training_size_is_compiled_and_none_runs_without() -> None:
    """Past its limit of eight graphs, the compiler would leave all other sizes to plain Python."""
    counter, network = CompileCounter(), nn.Conv2d(3, 4, 3)
    model, sizes = torch.compile(network, backend=counter, dynamic=False), 12
    build.allow_graphs(sizes)
    for _ in range(2):
        for side in range(32, 32 * sizes + 1, 32):
            model(torch.zeros(1, 3, side, side))
    assert counter.frame_count == sizes


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_passes_that_settle_ddp_are_a_step_s_to_the_compiler(channels_last: bool) -> None:
    recipe = Recipe(
        model=ModelConfig(name="resnet20", num_classes=4),
        input=InputConfig(train_size=64, start_size=32, growth_epochs=(0.0, 1.0)),
        ema=EmaConfig(),
        micro_batch=2,
        precision="fp32",
    )
    runtime, counter = Runtime(World(), "fp32", 1), CompileCounter()
    site = SiteConfig(data=None, output=None, channels_last=channels_last)  # pyright: ignore[reportArgumentType]
    state = build.train_state(recipe, site, runtime)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    normalize = Normalize(recipe.input, runtime.device, channels_last=channels_last)
    model = torch.compile(state.model, backend=counter, dynamic=False)
    build._settle_buckets(model, normalize, state, recipe, runtime)  # pyright: ignore[reportArgumentType]
    for name, value in state.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    graphs, images = counter.frame_count, loaded(recipe)
    with runtime.autocast():
        model(normalize(images)).sum().backward()
    assert (graphs, counter.frame_count) == (1, 1)


def loaded(recipe: Recipe) -> Tensor:
    """A batch as a loader gives it."""
    return torch.zeros(recipe.micro_batch, 32, 32, 3, dtype=torch.uint8)
