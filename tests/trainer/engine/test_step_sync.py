"""Between two log points nobody waits for the device: the step reads no number of it."""

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from data.plan.config import InputConfig
from data.types import Batch
from models.config import ModelConfig
from trainer.engine.build import forward, train_state
from trainer.engine.step import Normalize, TrainStep
from trainer.optim.config import AdamWConfig, EmaConfig, LossConfig, MixingConfig, SgdConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World

MODEL, INPUT = ModelConfig(name="resnet20", num_classes=10), InputConfig(train_size=32)
PLAIN = Recipe(model=MODEL, input=INPUT, precision="fp32", global_batch=8, micro_batch=8)
FULL = Recipe(
    model=ModelConfig(name="resnet20", num_classes=10, drop_path=0.1),
    input=INPUT,
    optimizer=SgdConfig(nesterov=True),
    loss=LossConfig(name="bce", label_smoothing=0.1, bce_threshold=0.2),
    mixing=MixingConfig(mixup=0.2, cutmix=1.0),
    ema=EmaConfig(decay=0.9),
    clip_norm=1.0,
    max_skipped=3,
    precision="bf16",
    global_batch=8,
    micro_batch=4,
)
ADAMW = Recipe(model=MODEL, input=INPUT, optimizer=AdamWConfig(), clip_norm=1.0, global_batch=8, micro_batch=8)
RECIPES = {"plain": PLAIN, "everything": FULL, "adamw": ADAMW}
READS = {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero"}


def stepper(recipe: Recipe, runtime: Runtime) -> TrainStep:
    state = train_state(recipe, SiteConfig(data=Path(), output=Path()), runtime)
    normalize = Normalize(recipe.input, runtime.device, channels_last=True)
    return TrainStep(runtime, forward(recipe, state, runtime, normalize), state, normalize, recipe)


def batches(recipe: Recipe, device: torch.device) -> list[Batch]:
    count = recipe.micro_batch
    batch = Batch(
        images=torch.zeros(count, 32, 32, 3, dtype=torch.uint8, device=device),
        targets=torch.zeros(count, dtype=torch.int64, device=device),
        indices=torch.zeros(count, dtype=torch.int64),
        valid=torch.ones(count, dtype=torch.bool, device=device),
        mixing=torch.full((4,), 0.3, dtype=torch.float64),
        noise=torch.tensor([[2, 3, 10, 12, 7]] * count),
    )
    return [batch] * (recipe.global_batch // count)


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_a_step_reads_no_number_from_the_device(name: str) -> None:
    """On a CPU nothing is waited for, but the same calls are made that would wait for a GPU."""
    recipe = RECIPES[name]
    runtime = Runtime(World(), recipe.precision, threads=1)
    step, given = stepper(recipe, runtime), batches(recipe, runtime.device)
    step(given, 0, 0.1, 8)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for number in (1, 2):
            step(given, number, 0.1, 8, observe=True)
    calls = {event.key: event.count for event in recorded.key_averages()}
    assert calls["aten::conv2d"] >= 2 * 19 * len(given)  # autocast has each call twice
    assert {call: calls[call] for call in READS if call in calls} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_is_never_waited_for(name: str) -> None:
    """Fused AdamW counts its steps on the GPU; on a CPU it reads them, which costs nothing there."""
    recipe = RECIPES[name]
    runtime = Runtime(World(), recipe.precision, threads=1)
    step, given = stepper(recipe, runtime), batches(recipe, runtime.device)
    for number in range(3):  # cuDNN tries its algorithms, optimizers take their memory
        step(given, number, 0.1, 8, observe=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(3, 6):
            step(given, number, 0.1, 8, observe=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
