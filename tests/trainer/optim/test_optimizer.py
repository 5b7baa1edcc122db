import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from timm.optim._optim_factory import create_optimizer_v2
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.optim.config import (
    RESUMES,
    AdamWConfig,
    AnyOptimizer,
    LambConfig,
    LarsConfig,
    RmspropTfConfig,
    SgdConfig,
    TimmConfig,
)
from trainer.optim.optimizer import build_optimizer, parameter_groups, problems

RATES = (0.1, 0.03)
WEIGHT, BIAS = torch.tensor([[3.0, -4.0]]), torch.tensor([2.0])
GRADIENTS = ((torch.tensor([[0.6, 0.8]]), torch.tensor([0.5])), (torch.tensor([[-0.3, 1.2]]), torch.tensor([-0.7])))
Update = Callable[[Tensor, Sequence[Tensor], float], Tensor]


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_norms_and_biases_are_decayed_too_in_one_group_where_the_recipe_says_so() -> None:
    (group,) = parameter_groups(model(), SgdConfig(weight_decay=1e-4))
    assert group["weight_decay"] == 1e-4
    assert len(group["params"]) == 6


def test_norms_and_biases_can_be_left_out_of_the_decay() -> None:
    decayed, left_out = parameter_groups(model(), AdamWConfig(weight_decay=0.05))
    assert (decayed["weight_decay"], left_out["weight_decay"]) == (0.05, 0.0)
    assert [weight.ndim for weight in decayed["params"]] == [4, 2]
    assert [weight.ndim for weight in left_out["params"]] == [1, 1, 1, 1]


def test_frozen_weights_are_left_alone() -> None:
    frozen = model()
    frozen[0].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
    (group,) = parameter_groups(frozen, SgdConfig())
    assert len(group["params"]) == 4


def sgd(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """v = m v + g + d w; w = w - lr v."""
    momentum = torch.zeros_like(weight)
    for lr, gradient in zip(RATES, gradients, strict=True):
        momentum = 0.9 * momentum + gradient + decay * weight
        weight = weight - lr * momentum
    return weight


def nesterov(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """v = m v + g + d w; w = w - lr (g + d w + m v)."""
    momentum = torch.zeros_like(weight)
    for lr, gradient in zip(RATES, gradients, strict=True):
        penalised = gradient + decay * weight
        momentum = 0.9 * momentum + penalised
        weight = weight - lr * (penalised + 0.9 * momentum)
    return weight


def adamw(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """1711.05101, algorithm 2, with the decay times the learning rate."""
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, (lr, gradient) in enumerate(zip(RATES, gradients, strict=True), 1):
        mean, square = 0.8 * mean + 0.2 * gradient, 0.9 * square + 0.1 * gradient**2
        update = mean / (1 - 0.8**step) / ((square / (1 - 0.9**step)) ** 0.5 + 0.01)
        weight = weight - lr * decay * weight - lr * update
    return weight


def lars(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """1708.03888, algorithm 1, with the learning rate outside of the momentum; without decay plain momentum."""
    momentum = torch.zeros_like(weight)
    for lr, gradient in zip(RATES, gradients, strict=True):
        ratio = 0.02 * weight.norm() / (gradient.norm() + decay * weight.norm()) if decay else 1
        momentum = 0.9 * momentum + ratio * (gradient + decay * weight)
        weight = weight - lr * momentum
    return weight


def lamb(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """1904.00962, algorithm 2; without decay plain Adam."""
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, (lr, gradient) in enumerate(zip(RATES, gradients, strict=True), 1):
        mean, square = 0.8 * mean + 0.2 * gradient, 0.9 * square + 0.1 * gradient**2
        update = mean / (1 - 0.8**step) / ((square / (1 - 0.9**step)) ** 0.5 + 0.01) + decay * weight
        weight = weight - lr * (weight.norm() / update.norm() if decay else 1) * update
    return weight


def rmsprop_tf(weight: Tensor, gradients: Sequence[Tensor], decay: float) -> Tensor:
    """s = a s + (1-a) g^2, from 1; v = m v + lr g / sqrt(s + eps); w = w - v."""
    square, momentum = torch.ones_like(weight), torch.zeros_like(weight)
    for lr, gradient in zip(RATES, gradients, strict=True):
        penalised = gradient + decay * weight
        square = 0.8 * square + 0.2 * penalised**2
        momentum = 0.9 * momentum + lr * penalised / (square + 0.01) ** 0.5
        weight = weight - momentum
    return weight


UPDATES: list[tuple[AnyOptimizer, Update]] = [
    (SgdConfig(weight_decay=0.5, decay_norm_and_bias=False), sgd),
    (SgdConfig(weight_decay=0.5, decay_norm_and_bias=False, nesterov=True), nesterov),
    (AdamWConfig(weight_decay=0.5, betas=(0.8, 0.9), eps=0.01), adamw),
    (LarsConfig(weight_decay=0.5, trust_coefficient=0.02), lars),
    (LambConfig(weight_decay=0.5, betas=(0.8, 0.9), eps=0.01), lamb),
    (RmspropTfConfig(weight_decay=0.5, alpha=0.8, eps=0.01), rmsprop_tf),
]


@pytest.mark.parametrize(("config", "update"), UPDATES, ids=lambda part: getattr(part, "__name__", ""))
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_two_updates_match_the_hand_computed_ones(config: AnyOptimizer, update: Update, device: str) -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(WEIGHT)
        layer.bias.copy_(BIAS)
    layer.to(device)
    optimizer = build_optimizer(layer, config)
    for lr, gradients in zip(RATES, GRADIENTS, strict=True):
        layer.weight.grad, layer.bias.grad = (gradient.clone().to(device) for gradient in gradients)
        advance(optimizer, lr)
    for found, start, gradients, decay in zip(
        layer.parameters(), (WEIGHT, BIAS), zip(*GRADIENTS, strict=True), (0.5, 0.0), strict=True
    ):
        expected = update(start.double(), [gradient.double() for gradient in gradients], decay)
        torch.testing.assert_close(found.detach().cpu(), expected.float())


OURS: list[AnyOptimizer] = [SgdConfig(), AdamWConfig(), LarsConfig(), LambConfig(), RmspropTfConfig()]


@pytest.mark.parametrize("config", [*OURS, *(TimmConfig(method=method, weight_decay=0.1) for method in RESUMES)])
def test_an_optimizer_goes_on_from_a_file_bit_for_bit(config: AnyOptimizer) -> None:
    whole, _ = trained(config, range(6), None)
    _, half = trained(config, range(3), None)
    resumed, _ = trained(config, range(3, 6), half)
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def trained(config: AnyOptimizer, steps: range, saved: bytes | None) -> tuple[list[Tensor], bytes]:
    """Weights after these steps, and the file to go on from."""
    torch.manual_seed(0)
    network = model().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stub lacks it
    optimizer = build_optimizer(network, config)
    if saved:
        tree = torch.load(io.BytesIO(saved), weights_only=True)
        network.load_state_dict(tree["network"])
        optimizer.load_state_dict(tree["optimizer"])
    for step in steps:
        images = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(images).square().mean().backward()
        advance(optimizer, 0.1 / (1 + step))
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    return [weight.detach() for weight in network.parameters()], file.getvalue()


def advance(optimizer: Optimizer, lr: float) -> None:
    group: dict[str, Any]
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


@pytest.mark.parametrize("method", RESUMES)
def test_timm_s_optimizers_do_what_timm_s_factory_makes_them_do(method: str) -> None:
    networks = [model(), model()]
    networks[1].load_state_dict(networks[0].state_dict())
    ours = build_optimizer(networks[0], TimmConfig(method=method, lr=0.1, weight_decay=0.1))
    theirs = create_optimizer_v2(networks[1], method, lr=0.1, weight_decay=0.1)
    for step in range(3):
        images = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(step))
        for network, optimizer in zip(networks, (ours, theirs), strict=True):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        ("lion", ("betas=(0.9, 0.98)", "caution=true"), None),
        ("lion", ("beta=0.9",), "timm cannot build lion so: no argument beta; did you mean betas?"),
        ("lion", ("fallback_list=head",), "timm cannot build lion so: no argument fallback_list; it takes betas, "),
        ("lion", ("lr=1",), "timm cannot build lion so: no argument lr; it takes betas, "),
        ("lion", ("betas=(2, 0.98)",), "timm cannot build lion so: Invalid beta parameter at index 0: 2"),
        ("adahessian", None, "timm cannot build adahessian so: needs second derivatives"),
        ("bnbadam", None, "timm cannot build bnbadam so: CUDA required"),
    ],
)
def test_what_timm_cannot_build_is_refused(method: str, options: tuple[str, ...] | None, problem: str | None) -> None:
    found = problems(model().to("meta"), TimmConfig(method=method, options=options))
    assert [one.startswith(f"optimizer.method: {problem}") for one in found] == [True] * bool(problem)
