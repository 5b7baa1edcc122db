"""Our trainer beside a plain PyTorch script: the criterion on figures made up, and on real runs."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import equivalence
from tests.benchmarks.__main__ import main
from tests.benchmarks.equivalence import HEAD, Equivalence
from tests.benchmarks.equivalence_runs import Run
from tests.data.making import tinted_tree

SCRIPT = Path(__file__).parents[1] / "system" / "plain_pytorch.py"


def run(top1: float, losses: tuple[float, float] = (2.0, 1.0)) -> Run:
    """Two epochs of two steps, a point after each step."""
    first, second = losses
    return Run(
        losses={1: first + 0.5, 2: first - 0.5, 3: second, 4: second},
        top1=[10.0, top1],
        evaluation_losses=[2.0, 1.5],
        seconds=60.0,
    )


def row(ours: list[float], theirs: list[float], losses: tuple[float, float] = (2.0, 1.0)) -> Equivalence:
    return Equivalence(network="resnet20", ours=[run(top1, losses) for top1 in ours], theirs=[run(t) for t in theirs])


@pytest.mark.parametrize(
    ("ours", "theirs", "losses", "verdict"),
    [
        ([90.0, 91.0, 92.0], [90.0, 91.0, 92.0], (2.0, 1.0), "equal"),
        ([90.0, 91.0, 92.0], [91.4, 92.4, 93.4], (2.0, 1.0), "equal"),  # 1.4 points are 1.7 standard errors
        ([90.0, 91.0, 92.0], [91.6, 92.6, 93.6], (2.0, 1.0), "differs"),  # more than is ever allowed
        ([91.0, 91.1, 91.2], [91.7, 91.8, 91.9], (2.0, 1.0), "differs"),  # 0.7 points are 9 standard errors
        ([91.0, 91.0, 91.0], [91.4, 91.4, 91.4], (2.0, 1.0), "equal"),  # no error, and less than ever counts
        ([70.0, 80.0, 90.0], [70.0, 80.0, 90.0], (2.0, 1.0), "too noisy"),
        ([70.0, 80.0, 90.0], [60.0, 70.0, 80.0], (2.0, 1.0), "differs"),  # noise is no excuse
        ([90.0, 91.0, 92.0], [90.0, 91.0, 92.0], (2.0, 1.2), "differs"),  # the loss of the second epoch
    ],
)
def test_sides_are_equal_within_their_noise_and_within_bounds(
    ours: list[float], theirs: list[float], losses: tuple[float, float], verdict: str
) -> None:
    found = row(ours, theirs, losses)
    assert found.verdict == verdict
    assert len(equivalence.cells(found)) == len(HEAD)


def test_the_error_is_welch_s_and_curves_are_compared_by_epoch() -> None:
    found = row([90.0, 91.0, 92.0], [80.0, 84.0, 88.0], (2.0, 1.1))
    assert found.difference == 7.0
    assert found.error == pytest.approx((1 / 3 + 16 / 3) ** 0.5)
    assert found.losses == ([2.0, 1.1], [2.0, 1.0])
    assert found.curves == pytest.approx(0.1)


@pytest.mark.slow
def test_ours_and_a_plain_script_train_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tinted_tree(tmp_path / "images", "abcdefg", train=672, val=700, most=0.3)
    small = ["--data", str(images), "--pattern", "resnet20", "--seeds", "2", "--epochs", "3", "--threads", "1"]
    written = tmp_path / "bench.json"
    code = main(["training", "--equivalence", str(SCRIPT), *small, "--json", str(written)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == " ".join(HEAD).split()
    assert line.startswith("resnet20")
    (found,) = json.loads(written.read_text())["equivalence"]
    assert code == (found["verdict"] != "equal")
    assert found["verdict"] != "differs", line  # two seeds may be too noisy for more
    assert found["curves"] < 0.1, line
    for side in ("ours", "theirs"):
        assert [len(run["top1"]) for run in found[side]] == [3, 3]
        assert all(run["top1"][-1] > 30 for run in found[side])  # of seven classes
        assert found[side][0]["losses"] != found[side][1]["losses"]  # seeds differ
    assert (tmp_path / "equivalence.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_script_that_fails_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "plain.py"
    script.write_text("raise RuntimeError('no such network')\n")
    small = ["--pattern", "resnet20", "--seeds", "2", "--epochs", "1", "--images", "100", "--threads", "1"]
    assert main(["training", "--equivalence", str(script), *small, "--figure", str(tmp_path / "curves.png")]) == 1
    assert capsys.readouterr().err.endswith("failed: plain.py: RuntimeError: no such network\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no/script.py"], "--equivalence: no/script.py is not a file; name tests/system/plain_pytorch.py"),
        ([str(SCRIPT), "--seeds", "1"], "--seeds: 1; must be at least 2"),
        ([str(SCRIPT), "--pattern", "resnet34"], "compares resnet20 and resnet18, not resnet34"),
        (
            [str(SCRIPT), "--pattern", "timm/resnet50"],
            "compares timm/test_vit and timm/convnext_atto, not timm/resnet50",
        ),
        ([str(SCRIPT), "--crop", "padded"], "--crop: padded is for images of the network's size"),
        ([str(SCRIPT), "--data", "no/images"], "--data: no/images has no folder train"),
        ([str(SCRIPT), "--figure", "no/such/folder.png"], "--figure: no/such/folder.png cannot be a file"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["training", "--equivalence", *arguments]) == 2
    assert problem in capsys.readouterr().err
