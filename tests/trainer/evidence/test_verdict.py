import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.evidence.runs import (
    EVALUATION,
    PAPER,
    START,
    TARGET,
    TARGETS,
    account,
    recipe,
    score,
    train_records,
    write,
)
from trainer.checkpoint.holder_file import ourselves
from trainer.evidence.run_record import read
from trainer.evidence.verdict import judge
from trainer.optim.config import EmaConfig
from trainer.rundir import RunDirectory

CIFAR = {
    "cifar_resnet20": (replace(TARGET, by="paper", top1=91.25, data="cifar10", protocol="center-32/32", epochs=164),)
}
TEN_CROP = {"resnet50": (PAPER,)}


@pytest.mark.parametrize(
    ("top1", "word", "expected"),
    [
        (
            76.2,
            "reproduced",
            "Top-1 76.20 % (center-224/256, raw weights) is 0.07 points above the 76.13 % of torchvision.",
        ),
        (76.13, "reproduced", "equal to the 76.13 % of torchvision."),
        (75.83, "reproduced", "0.30 points below the 76.13 % of torchvision, within the tolerance of 0.30."),
        (75.82, "not reproduced", "0.31 points below the 76.13 % of torchvision, more than the tolerance of 0.30."),
        (99.0, "reproduced", "22.87 points above"),
    ],
)
def test_a_run_may_end_above_the_figure_or_within_the_tolerance_below(top1: float, word: str, expected: str) -> None:
    found = judge([account(top1, recipe=recipe(seed=4))], TARGETS)
    assert found.word == word
    assert expected in found.why
    assert found.target is TARGET
    assert [score.top1 for score in found.accuracies] == [top1]


def test_a_run_that_is_not_finished_has_no_verdict_whatever_it_has_reached() -> None:
    found = judge([account(None, recipe=recipe(), evaluations=[score(80.0)])], TARGETS)
    assert (found.word, found.accuracies) == ("not finished", ())


@pytest.mark.parametrize(
    ("run", "targets", "expected"),
    [
        (
            account(76.2, recipe=recipe(), data=None, why="re-encoded: train has 36 GB"),
            TARGETS,
            "on images that are not imagenet-1k's (re-encoded: train has 36 GB); the figure of torchvision is",
        ),
        (account(92.0, recipe=recipe(), data="cifar10"), TARGETS, "The run trained on cifar10; the figure of"),
        (
            account(92.0, recipe=recipe("cifar_resnet20"), data=None, why="re-encoded: train is not the raw pixels"),
            CIFAR,
            "not cifar10's (re-encoded: train is not the raw pixels); the figure of the paper is of cifar10",
        ),
        (account(92.0, recipe=recipe("cifar_resnet20"), data="imagenet-1k"), CIFAR, "on imagenet-1k; the figure of"),
        (account(92.0, recipe=recipe("cifar_resnet20"), data="cifar100"), CIFAR, "on cifar100; the figure of"),
        (account(76.2, recipe=recipe(epochs=91)), TARGETS, "for 91 epochs; the figure of torchvision is after 90."),
        (account(76.2, recipe=recipe()), {}, "No published figure is known here for the recipe resnet50."),
        (account(76.2, recipe=recipe("demo")), TARGETS, "No published figure is known here for the recipe demo."),
    ],
)
def test_another_data_set_length_or_recipe_is_not_comparable(run, targets, expected: str) -> None:
    found = judge([run], targets)
    assert found.word == "not comparable"
    assert expected in found.why
    assert found.fix is None


def test_cifar_is_judged_by_its_own_figure() -> None:
    run = account(91.0, recipe=recipe("cifar_resnet20"), data="cifar10")
    assert judge([run], CIFAR).word == "reproduced"
    assert judge([run], {**CIFAR, **TARGETS}).target == CIFAR["cifar_resnet20"][0]


def test_another_protocol_is_not_comparable_and_the_command_that_measures_it_is_named() -> None:
    found = judge([account(76.2, recipe=recipe(), path="my runs/r50")], TEN_CROP)
    assert found.word == "not comparable"
    assert found.why == "Measured is center-224/256; the figure of the paper is by ten-crop-224/256. This measures it:"
    assert found.fix == "provenet evaluate 'my runs/r50' --data DATA --protocol ten-crop-224/256"


def test_a_later_evaluation_by_the_figure_s_protocol_is_judged() -> None:
    run = account(70.0, recipe=recipe(), evaluations=[score(75.0, "ten-crop-224/256"), score(90.0, "ten-crop-224/256")])
    found = judge([run], TEN_CROP)
    assert found.word == "reproduced"  # by the newest, which comes first
    assert "Top-1 75.00 % (ten-crop-224/256, raw weights)" in found.why


@pytest.mark.parametrize(
    "other",
    [
        {"labels": "real"},
        {"labels": "v2-matched-frequency"},
        {"val_sha256": "other images"},
        {"weights_sha256": "of an earlier checkpoint"},
        {"weights": "ema", "weights_sha256": None},
        {"protocol": "ten-crop-224/256+bicubic"},
    ],
)
def test_an_evaluation_of_other_labels_images_weights_or_pixels_is_not_judged(other: dict[str, str]) -> None:
    evaluation = replace(score(75.0, "ten-crop-224/256"), **other)
    assert judge([account(70.0, recipe=recipe(), evaluations=[evaluation])], TEN_CROP).word == "not comparable"


def test_of_an_average_the_average_is_judged() -> None:
    averaging = recipe(ema=EmaConfig(decay=0.999))
    made = score(75.0, "ten-crop-224/256", weights="ema")
    found = judge([account(70.0, recipe=averaging, evaluations=[made])], TEN_CROP)
    assert "ema weights" in found.why
    assert found.why.endswith("The run differs from the recipe resnet50 in ema.decay.")


def test_departures_from_the_named_recipe_are_said() -> None:
    found = judge(
        [account(76.2, recipe=recipe(precision="fp32", global_batch=512, micro_batch=64, clip_norm=1.0))], TARGETS
    )
    assert found.word == "reproduced"
    expected = "The run differs from the recipe resnet50 in global_batch, micro_batch, precision and 1 more fields."
    assert found.why.endswith(expected)


@pytest.mark.parametrize(
    ("accuracies", "word", "expected"),
    [
        # mean 75.8, deviation 0.2; half the interval is 4.303 * 0.2 / sqrt(3) = 0.497
        ((75.6, 75.8, 76.0), "reproduced", "is 0.33 points below the 76.13 % of torchvision, more than the tolerance"),
        # mean 75.7, deviation 0.4: half is 0.994, up to 76.69
        ((75.3, 75.7, 76.1), "not reproduced", "interval, 74.71 to 76.69 (too wide to go by: more seeds would narrow"),
        ((75.6, 75.8, 76.0), "reproduced", "the tolerance of 0.30; its 95 % interval, 75.30 to 76.30, covers"),
        ((75.0, 76.2), "not reproduced", "(too wide to go by: more seeds would narrow it), covers"),
        ((76.6, 76.65, 76.7), "reproduced", "Mean top-1 76.65 +- 0.05 % over 3 seeds is 0.52 points above"),
        ((75.0, 75.05, 75.1), "not reproduced", "74.93 to 75.17, lies below that figure"),
        (
            (75.9, 75.95, 76.0),
            "reproduced",
            "0.18 points below the 76.13 % of torchvision, within the tolerance of 0.30",
        ),
    ],
)
def test_several_seeds_are_judged_by_their_mean_or_its_interval(accuracies, word: str, expected: str) -> None:
    runs = [account(top1, recipe=recipe(seed=seed)) for seed, top1 in enumerate(accuracies)]
    found = judge(runs, TARGETS)
    assert found.word == word
    assert expected in found.why


def test_the_same_seed_twice_is_one_run() -> None:
    runs = [account(top1, recipe=recipe(seed=1)) for top1 in (70.0, 76.2)]
    assert judge(runs, TARGETS).why.startswith("Top-1 76.20 %")


def test_a_seed_that_is_missing_leaves_the_verdict_open() -> None:
    """A mean of those that did not diverge would be too high."""
    runs = [account(top1, recipe=recipe(seed=seed)) for seed, top1 in enumerate((76.2, 76.3, None))]
    found = judge(runs, TARGETS)
    assert (found.word, found.why) == ("not finished", "Of 3 runs, 2 finished, 1 stopped.")
    assert found.accuracies == ()


def at(tmp_path: Path, *records: dict[str, Any]) -> RunDirectory:
    return write(tmp_path, recipe(), [{**START, "total_steps": 1440}, *train_records(6), EVALUATION, *records])


def test_the_first_words_are_whether_a_run_diverged_stopped_or_goes_on(tmp_path: Path) -> None:
    """And how far it is; a start after a divergence has dropped its record."""
    why = {"first": 5, "lr": 75.91, "why": "the loss is not a finite number"}
    run = at(tmp_path, {"kind": "diverged", "step": 7, "time": 401.0, **why})
    found = judge([read(run)])
    assert (found.word, found.tone) == ("diverged", "bad")
    assert found.why.startswith(
        "At step 5, learning rate 75.9: the loss is not a finite number. The same command would"
    )
    stopped = "It stopped at step 6 of 1,440. Newest top-1: 55.50 %, after epoch 2. The same command goes on from"
    assert judge([read(at(tmp_path / "b"))]).why.startswith(stopped)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        status = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()
        holder = replace(ourselves(), pid=other.pid, started=status[20 - 1])
        run.holder.write_text(json.dumps({"schema": 1, **asdict(holder)}))
        found = judge([read(run)])
        assert (found.word, found.tone) == ("not finished", "open")
        assert found.why.startswith(f"The run was at step 6 of 1,440 when this was written, and went on: {holder}.")
        other.communicate(b"\n")
    assert read(run).stage == "diverged"  # its process is gone
    run.holder.write_text(json.dumps({"schema": 1, **asdict(ourselves())}))
    assert read(run).stage == "diverged"  # this process itself writes the report of its end


def test_a_verdict_is_a_line_for_the_console() -> None:
    assert str(judge([account(76.2, recipe=recipe())], TARGETS)).startswith("reproduced: Top-1 76.20 %")
    lines = str(judge([account(76.2, recipe=recipe())], TEN_CROP)).splitlines()
    assert lines[1].startswith("  provenet evaluate runs/r50 ")
