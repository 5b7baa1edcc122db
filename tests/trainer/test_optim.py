import torch
from torch import nn

from trainer.config import SgdConfig
from trainer.optim import build_optimizer, parameter_groups


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_everything_is_decayed_in_one_group_by_default() -> None:
    (group,) = parameter_groups(model(), SgdConfig(weight_decay=1e-4))
    assert group["weight_decay"] == 1e-4
    assert isinstance(group["params"], list)
    assert len(group["params"]) == 6


def test_norms_and_biases_can_be_left_out_of_the_decay() -> None:
    decayed, left_out = parameter_groups(model(), SgdConfig(weight_decay=1e-4, decay_norm_and_bias=False))
    assert (decayed["weight_decay"], left_out["weight_decay"]) == (1e-4, 0.0)
    assert isinstance(decayed["params"], list)
    assert isinstance(left_out["params"], list)
    assert [weight.ndim for weight in decayed["params"]] == [4, 2]
    assert [weight.ndim for weight in left_out["params"]] == [1, 1, 1, 1]


def test_frozen_weights_are_left_alone() -> None:
    frozen = model()
    frozen[0].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
    (group,) = parameter_groups(frozen, SgdConfig())
    assert isinstance(group["params"], list)
    assert len(group["params"]) == 4


def test_two_sgd_updates_match_the_hand_computed_ones() -> None:
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    optimizer = build_optimizer(layer, SgdConfig(lr=0.1, momentum=0.9, weight_decay=0.5))
    for _ in range(2):
        layer.weight.grad = torch.full((1, 1), 2.0)
        optimizer.step()
    # v1 = 2 + 0.5 * 1 = 2.5, w1 = 0.75; v2 = 0.9 * 2.5 + (2 + 0.5 * 0.75) = 4.625, w2 = 0.75 - 0.4625
    torch.testing.assert_close(layer.weight.detach(), torch.full((1, 1), 0.2875))
