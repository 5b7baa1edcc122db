"""What a step computes keeps to the GPU: an operation that mixes host and device tensors fails here, without one.

PyTorch's FakeTensorMode carries shapes, types and devices and computes nothing. Backward passes, streams and events
need a driver, so they are left to the tests marked `gpu`.
"""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tests.trainer.engine.test_step_sync import RECIPES, batches
from trainer import metrics
from trainer.engine.build import train_state
from trainer.engine.state import TrainState
from trainer.engine.step import Normalize
from trainer.optim import batchnorm
from trainer.optim.loss import logits_of, losses
from trainer.optim.mixing import Mixing
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World

GPU = torch.device("cuda", 0)
DRAWS = torch.full((4,), 0.3, dtype=torch.float64)  # real numbers: the mixing reads them on the host


class OnGpu(Runtime):
    """A runtime whose networks are created on a GPU that exists in shapes alone."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(World(), recipe.precision, threads=1)
        self.device = GPU


def placed(model: nn.Module, device: torch.device, *, channels_last: bool) -> nn.Module:
    """As `gpu.place`, whose `to` has no form for shapes alone."""
    assert (device, channels_last) == (GPU, True)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(_alike(weight)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, _alike(buffer))
    return model


class ShapesAlone(FakeTensorMode):
    """Computes nothing; a copy of one of its tensors, as the averaged network's, belongs to it too."""

    def __deepcopy__(self, memo: object) -> "ShapesAlone":
        return self


def _alike(tensor: Tensor) -> Tensor:
    layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU, memory_format=layout)


def step(recipe: Recipe, runtime: Runtime, state: TrainState) -> Tensor:
    batch = batches(recipe, GPU)[0]
    normalize = Normalize(recipe.input, GPU, channels_last=True)
    mixing = Mixing(recipe.mixing, recipe.model.num_classes, shift=1)
    inputs, mixed = mixing(normalize(batch.images), batch.targets, DRAWS)
    assert (inputs.device, inputs.dtype) == (GPU, torch.float32)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    with runtime.autocast():
        outputs = state.model(inputs)
    assert logits_of(outputs).dtype == (torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    found = losses(outputs, mixed, recipe.loss)
    for weight in state.model.parameters():
        weight.grad = torch.empty_like(weight)
    norm = get_total_norm([weight.grad for weight in state.model.parameters() if weight.grad is not None])
    clip_grads_with_norm_(state.model.parameters(), 1.0, norm)
    if isinstance(state.optimizer, torch.optim.SGD):
        for group in state.optimizer.param_groups:
            group.update(fused=False, foreach=True)  # its fused kernel has no form for shapes alone
    state.optimizer.step()
    if state.ema:
        state.ema.update(1)
    return metrics.totals(logits_of(outputs).detach(), batch.targets, batch.valid, found.detach())


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # deepcopy's, of the averaged network
@pytest.mark.parametrize("name", RECIPES)
def test_what_a_step_computes_stays_on_the_gpu(name: str) -> None:
    recipe = RECIPES[name]
    runtime = OnGpu(recipe)
    with (
        ShapesAlone(),
        patch("torch.cuda.is_available", lambda: True),  # autocast asks, and is off where there is none
        patch("torch.cuda.is_bf16_supported", lambda *_, **__: True),
        patch("trainer.gpu.place", placed),
    ):
        state = train_state(recipe, SiteConfig(data=Path(), output=Path()), runtime)
        assert state.optimizer.defaults["fused"]
        sums = state.sums + step(recipe, runtime, state)
        assert (sums.device, sums.shape) == (GPU, (metrics.FIELDS,))
        kept = [tensor for network in state.networks for tensor in network.state_dict().values()]
        kept += [value for of in state.optimizer.state.values() for value in of.values() if isinstance(value, Tensor)]
        assert len(kept) > 150
        assert {tensor.device for tensor in [*kept, state.faults, batchnorm.flat(state.networks)]} == {GPU}


def test_a_host_tensor_among_them_fails() -> None:
    with ShapesAlone(), pytest.raises(RuntimeError, match="same device"):
        _ = torch.zeros(3, 3, device=GPU) @ torch.zeros(3, 3)
