import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.engines import RECIPE
from tests.trainer.evidence import states
from trainer import metrics
from trainer.engine.state import TrainState, headline
from trainer.metrics import FIELDS
from trainer.optim import batchnorm
from trainer.optim.config import EmaConfig
from trainer.optim.ema import Ema
from trainer.optim.optimizer import build_optimizer


def fresh(seed: int, *, ema: bool = True) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 4))
    return TrainState(
        model=model,
        optimizer=build_optimizer(model, RECIPE.optimizer),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=Ema(model, EmaConfig(decay=0.5)) if ema else None,
        sums=metrics.empty(torch.device("cpu")),
        faults=torch.tensor([-math.inf, 0.0], dtype=torch.float64),
    )


def trained(seed: int, *, ema: bool = True) -> TrainState:
    """A state in which nothing is as it was at the start."""
    state = fresh(seed, ema=ema)
    for step in range(3):
        state.model(torch.randn(5, 3, 8, 8)).sin().mean().backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.ema:
            state.ema.update(step + 1)
    state.step, state.evaluated, state.broken, state.best_top1 = 3, 2, 1, 61.5
    state.scores = {"raw": {"top1": 60.0}, **({"ema": {"top1": 61.0}} if ema else {})}
    state.sums += torch.arange(1, FIELDS + 1)
    state.faults.copy_(torch.tensor([-2.0, 1.0]))
    return state


def rows(state: TrainState, *others: dict[str, Tensor]) -> dict[str, Tensor]:
    """`own` of this rank and of others that differ from it in these."""
    ranks = [state.own(), *({**state.own(), **other} for other in others)]
    return {name: torch.stack([rank[name] for rank in ranks]) for name in ranks[0]}


def stored(state: TrainState, *others: dict[str, Tensor], about: dict[str, str] | None = None) -> dict[str, Any]:
    """A checkpoint of it, which as a file does shares no memory with it."""
    return deepcopy(state.tree(rows(state, *others), about or {}))


def tensors(state: TrainState) -> list[Tensor]:
    momentum = [kept["momentum_buffer"] for kept in state.optimizer.state.values()]
    networks = [value for network in state.networks for value in network.state_dict().values()]
    return [*networks, *momentum, state.sums, state.faults]


@pytest.mark.parametrize("ema", [True, False])
def test_what_a_checkpoint_holds_decides_the_whole_state(ema: bool) -> None:
    given, other = trained(0, ema=ema), trained(1, ema=ema)
    other.step, other.evaluated, other.broken, other.best_top1, other.scores = 9, 9, 9, 9.0, {}
    if other.ema:
        other.ema.updates = 99
    other.restore(stored(given), rank=0, world_size=1)
    assert all(map(torch.equal, tensors(other), tensors(given)))
    plain = ("step", "evaluated", "broken", "best_top1", "scores")
    assert [getattr(other, name) for name in plain] == [getattr(given, name) for name in plain]
    if given.ema and other.ema:
        assert other.ema.updates == given.ema.updates == 3


def test_the_optimizer_goes_on_with_its_momentum() -> None:
    given, other = trained(0), fresh(1)
    other.restore(stored(given), rank=0, world_size=1)
    for state in (given, other):
        torch.manual_seed(5)
        state.model(torch.randn(5, 3, 8, 8)).sin().mean().backward()
        state.optimizer.step()
    assert all(map(torch.equal, tensors(other), tensors(given)))


def test_fp16_s_loss_scale_goes_on_where_it_was() -> None:
    given, other = (
        replace(fresh(0), scaler=torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3))
        for scale in (1024.0, 2.0)
    )
    for state in (given, other):
        state.scaler.scale(torch.ones(()))
    given.scaler.update(512.0)
    other.restore(stored(given), rank=0, world_size=1)
    assert (given.scaler.get_scale(), other.scaler.get_scale()) == (512.0, 512.0)


def test_each_rank_goes_on_with_its_own_sums_and_statistics_at_the_same_world_size() -> None:
    given = trained(0)
    second = {"sums": given.sums * 10, "statistics": given.own()["statistics"] + 7}
    tree = stored(given, second)
    for rank, factor, offset in ((0, 1, 0), (1, 10, 7)):
        other = fresh(1)
        other.restore(tree, rank, world_size=2)
        assert torch.equal(other.sums, given.sums * factor)
        assert torch.equal(batchnorm.flat(other.networks), given.own()["statistics"] + offset)


@pytest.mark.parametrize("world_size", [1, 3, 4])
def test_another_number_of_ranks_has_the_sums_of_all_once_and_the_mean_statistics(world_size: int) -> None:
    given = trained(0)
    second = {"sums": given.sums * 10, "statistics": given.own()["statistics"] + 6}
    tree = stored(given, second)
    sums: list[Tensor] = []
    for rank in range(world_size):
        other = trained(1)
        other.restore(tree, rank, world_size)
        sums.append(other.sums)
        torch.testing.assert_close(batchnorm.flat(other.networks), given.own()["statistics"] + 3)
    assert torch.equal(torch.stack(sums).sum(0), given.sums * 11)
    assert torch.equal(sums[0], given.sums * 11)


@pytest.mark.parametrize("world_size", [2, 3])
def test_faults_are_the_first_and_the_most_of_all_ranks(world_size: int) -> None:
    """Each rank counts the same faults, but only those that met one know the step; minus a step is greatest first."""
    given = trained(0)
    second = {"faults": torch.tensor([-1.0, 4.0], dtype=torch.float64)}
    for rank in range(world_size):
        other = fresh(1)
        other.restore(stored(given, second), rank, world_size)
        assert other.faults.tolist() == [-1.0, 4.0]


def test_networks_of_a_checkpoint_have_the_mean_statistics_of_the_ranks() -> None:
    given = trained(0)
    assert given.ema is not None
    second = {"statistics": given.own()["statistics"] + 2}
    tree = stored(given, second, about={"model": "resnet20"})
    for kind, network in (("model", given.model), ("ema", given.ema.network)):
        torch.testing.assert_close(tree[kind]["1.running_mean"], network.state_dict()["1.running_mean"] + 1)
        torch.testing.assert_close(tree[kind]["1.running_var"], network.state_dict()["1.running_var"] + 1)
        assert torch.equal(tree[kind]["0.weight"], network.state_dict()["0.weight"])
    assert tree["about"] == {"model": "resnet20"}


def test_weights_of_another_network_are_refused() -> None:
    given, other = trained(0), replace(fresh(1), model=nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.restore(stored(given), rank=0, world_size=1)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [({"raw": {"top1": 1.0}}, 1.0), ({"raw": {"top1": 1.0}, "ema": {"top1": 2.0}}, 2.0)],
)
def test_the_averaged_weights_count_where_there_are_such(scores: dict[str, Any], expected: float) -> None:
    assert headline(states.state(scores=scores)) == {"top1": expected}
