import io
from collections.abc import Callable

import pytest
import torch
from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainer.optim.config import EmaConfig
from trainer.optim.ema import Ema


def layer(value: float) -> nn.Module:
    """One weight of this value."""
    made = nn.Linear(1, 1, bias=False)
    set_weight(made, value)
    return made


def set_weight(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        next(network.parameters()).fill_(value)


def values(config: EmaConfig) -> list[float]:
    """Averages after each of six steps, in which the weight, at first 0, is 1, 2, ... 6."""
    network = layer(0)
    ema, found = Ema(network, config), list[float]()
    for step in range(1, 7):
        set_weight(network, step)
        ema.update(step)
        found.append(next(ema.network.parameters()).item())
    return found


def test_without_warm_up_the_share_kept_is_the_decay() -> None:
    """a = 0.5 a + 0.5 w."""
    found = values(EmaConfig(decay=0.5, warmup=False))
    assert found == pytest.approx([0.5, 1.25, 2.125, 3.0625, 4.03125, 5.015625])


def test_warm_up_keeps_less_at_first() -> None:
    """Kept: 1/10, 2/11, 3/12, then the decay, which is less than 4/13."""
    found = values(EmaConfig(decay=0.3))
    first = 0.9 * 1
    second = 2 / 11 * first + 9 / 11 * 2
    third = 3 / 12 * second + 9 / 12 * 3
    fourth = 0.3 * third + 0.7 * 4
    assert found[:4] == pytest.approx([first, second, third, fourth])


def test_steps_in_between_are_passed_over_and_warm_up_counts_updates() -> None:
    found = values(EmaConfig(decay=0.9, every=3))
    assert found == pytest.approx([0, 0, 0.9 * 3, 0.9 * 3, 0.9 * 3, 2 / 11 * 2.7 + 9 / 11 * 6])


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    return made.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stub lacks it


def advance(current: nn.Module, step: int) -> None:
    """Change every weight and buffer."""
    generator = torch.Generator().manual_seed(step)
    current.train()(torch.randn(8, 3, 3, 3, generator=generator))
    with torch.no_grad():
        for weight in current.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator))


def timm_v2(current: nn.Module) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    theirs = ModelEmaV2(current, decay=0.9)
    return theirs.module, theirs.update


def timm_v3(current: nn.Module) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    theirs = ModelEmaV3(current, decay=0.9)
    return theirs.module, theirs.update


def torch_swa(current: nn.Module) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    theirs = AveragedModel(current, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(current)  # the first time it copies
    return theirs.module, theirs.update_parameters


@pytest.mark.parametrize("peer", [timm_v2, timm_v3, torch_swa])
def test_averages_are_those_of_timm_and_torch(
    peer: Callable[[nn.Module], tuple[nn.Module, Callable[[nn.Module], None]]],
) -> None:
    current = network()
    ema = Ema(current, EmaConfig(decay=0.9, warmup=False))
    theirs, update = peer(current)
    for step in range(1, 5):
        advance(current, step)
        ema.update(step)
        update(current)
    expected = theirs.state_dict()
    for name, found in ema.network.state_dict().items():
        if found.is_floating_point():  # each peer does something else with counts
            torch.testing.assert_close(found, expected[name])


def test_counts_are_copied() -> None:
    current = network()
    ema = Ema(current, EmaConfig(decay=0.9))
    for step in range(1, 4):
        advance(current, step)
        ema.update(step)
    assert ema.network.state_dict()["1.num_batches_tracked"].item() == 3


def test_the_average_is_for_evaluation_and_touches_nothing_of_the_network_in_training() -> None:
    current = network().train()
    before = {name: value.clone() for name, value in current.state_dict().items()}
    ema = Ema(current, EmaConfig(decay=0.9))
    ema.update(1)
    assert not any(module.training for module in ema.network.modules())
    assert not any(weight.requires_grad for weight in ema.network.parameters())
    assert all(weight.requires_grad for weight in current.parameters())
    assert current.training
    assert all(torch.equal(value, before[name]) for name, value in current.state_dict().items())
    assert next(ema.network.parameters()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("config", [EmaConfig(decay=0.9), EmaConfig(decay=0.9, every=2)])
def test_an_average_goes_on_from_a_file_bit_for_bit(config: EmaConfig) -> None:
    current = network()
    whole = Ema(current, config)
    resumed = whole
    for step in range(1, 9):
        advance(current, step)
        whole.update(step)
        if step == 4:
            resumed = reloaded(whole, current, config)
        elif step > 4:
            resumed.update(step)
    assert resumed.updates == whole.updates
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())


def reloaded(ema: Ema, current: nn.Module, config: EmaConfig) -> Ema:
    file = io.BytesIO()
    torch.save({"network": ema.network.state_dict(), "updates": ema.updates}, file)
    file.seek(0)
    stored, fresh = torch.load(file, weights_only=True), Ema(current, config)
    fresh.network.load_state_dict(stored["network"])
    fresh.updates = stored["updates"]
    return fresh
