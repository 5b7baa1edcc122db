import math
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.engines import RECIPE, ask_to_stop, built, records, together, weights
from trainer.engine.divergence import DivergedError
from trainer.engine.fit import Fit
from trainer.engine.loop import train_epoch
from trainer.engine.validation import evaluate_epoch
from trainer.optim.config import EmaConfig
from trainer.world import World


def biased(parts: Fit, towards: int, network: int = 0) -> None:
    """Let a network say one class of every image."""
    layer = parts.state.networks[network].get_submodule("fc")
    with torch.no_grad():
        layer.weight.zero_()  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
        layer.bias.copy_(10.0 * torch.nn.functional.one_hot(torch.tensor(towards), 4))  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]


def test_the_scores_are_those_of_both_networks_and_the_averaged_one_counts(images: Path, tmp_path: Path) -> None:
    """All 80 images, of 4 classes of 20: a network that always says the same is right in a quarter of them."""
    with built(images, tmp_path) as parts:
        state = parts.state
        biased(parts, 1)
        with torch.no_grad():
            state.networks[1].get_submodule("fc").weight.zero_()  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
            state.networks[1].get_submodule("fc").bias.zero_()  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
        assert evaluate_epoch(parts, time.perf_counter() - 100)
        assert list(state.scores) == ["raw", "ema"]
        raw, averaged = state.scores["raw"], state.scores["ema"]
        assert (raw["top1"], raw["images"], averaged["images"]) == (25.0, 80, 80)
        assert raw["loss"] == pytest.approx(0.75 * 10 + math.log(1 + 3 * math.exp(-10)), rel=1e-5)
        assert averaged["loss"] == pytest.approx(math.log(4), rel=1e-5)
        assert (state.evaluated, state.best_top1) == (1, averaged["top1"])
    (line,), (other,) = records(tmp_path, "eval"), records(tmp_path, "eval_ema")
    assert {name: line[name] for name in ("epoch", "top1", "images")} == {"epoch": 1, "top1": 25.0, "images": 80}
    assert other["loss"] == pytest.approx(math.log(4), rel=1e-5)
    assert line["evaluation_s"] > 0
    assert line["epoch_s"] - line["evaluation_s"] >= 99.99  # of an epoch that began before, whose end it is
    assert any(b"images/mistakes" in events.read_bytes() for events in tmp_path.glob("events.*"))


@pytest.mark.parametrize(("before", "after"), [(0.0, 25.0), (24.0, 25.0), (26.0, 26.0)])
def test_the_best_accuracy_is_the_highest_so_far(before: float, after: float, images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path, replace(RECIPE, ema=EmaConfig())) as parts:
        biased(parts, 2)
        parts.state.best_top1 = before
        assert evaluate_epoch(parts, 0.0)
        assert parts.state.best_top1 == after
        assert list(parts.state.scores) == ["raw"]


def test_a_stopped_evaluation_leaves_the_state_as_it_was(images: Path, tmp_path: Path) -> None:
    """Also where BatchNorm's statistics were taken anew before it."""
    with built(images, tmp_path, replace(RECIPE, precise_bn=48)) as parts:
        before, fields = weights(parts), (parts.state.evaluated, parts.state.best_top1, deepcopy(parts.state.scores))
        ask_to_stop(parts.context.stop)
        assert not evaluate_epoch(parts, 0.0)
        assert all(torch.equal(value, before[name]) for name, value in weights(parts).items())
        assert (parts.state.evaluated, parts.state.best_top1, parts.state.scores) == fields
        assert parts.state.model.training
    assert records(tmp_path, "eval") == []


def test_statistics_are_those_of_so_many_training_images_in_place_of_the_running_ones(
    images: Path, tmp_path: Path
) -> None:
    """Of the first layer, whose input does not depend on other statistics."""
    with built(images, tmp_path, replace(RECIPE, precise_bn=47)) as parts:  # rounded up to 4 micro-batches
        model, means = parts.state.model, list[torch.Tensor]()
        first = model.get_submodule("conv1")
        with torch.no_grad():
            for batch, _ in zip(parts.train_loader.epoch(0), range(4), strict=False):
                means.append(first(parts.normalize(batch.images)).mean((0, 2, 3)))
        assert evaluate_epoch(parts, 0.0)
        for network in parts.state.networks:
            torch.testing.assert_close(network.state_dict()["bn1.running_mean"], torch.stack(means).mean(0))


def test_a_loss_that_is_no_number_ends_the_run_and_names_it(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        parts.state.step = 4
        with torch.no_grad():
            next(parts.state.model.parameters()).fill_(math.nan)
        with pytest.raises(DivergedError, match=r"the evaluation loss is nan; .* first at step 4"):
            evaluate_epoch(parts, 0.0)
        assert (parts.state.evaluated, parts.state.scores) == (0, {})


def evaluated(world: World, images: Path, output: Path) -> tuple[dict[str, Any], torch.Tensor]:
    with built(images, output, replace(RECIPE, epochs=1), world=world) as parts:
        train_epoch(parts)
        statistics = parts.state.model.state_dict()["bn1.running_mean"].clone()
        evaluate_epoch(parts, 0.0)
        return parts.state.scores, torch.stack([statistics, parts.state.model.state_dict()["bn1.running_mean"]])


@pytest.mark.slow
def test_two_processes_evaluate_with_the_mean_of_their_statistics_and_agree(images: Path, tmp_path: Path) -> None:
    """The statistics of one process have seen half the images until then."""
    (first, ours), (second, theirs) = together(evaluated, images, tmp_path)
    assert first == second
    assert first["raw"]["images"] == first["ema"]["images"] == 80
    assert not torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], (ours[0] + theirs[0]) / 2)
    assert torch.equal(ours[1], theirs[1])
