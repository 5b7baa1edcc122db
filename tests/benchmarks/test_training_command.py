import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.pairs import HEAD

TINY = ["--pattern", "resnet20", "--batch", "2", "--steps", "2", "--rounds", "2", "--starts", "1"]


def test_networks_are_timed_beside_their_counterparts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "bench.json"
    arguments = ["--pattern", "resnet2?", "--batch", "2", "--rounds", "3", "--json", str(written)]
    assert main(["training", "--models", *arguments]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["name", "counterpart"]
    assert row.startswith("resnet20")
    (saved,) = json.loads(written.read_text())["models"]
    assert saved["ours_ms"] > 0
    assert saved["spread"][0] <= saved["ratio"] <= saved["spread"][1]
    assert 0.05 < saved["ratio"] < 20  # the same network: a slip in the clock or the pairing would leave this


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measure", "rows"),
    [
        ("engine", ["engine against a bare loop", "its CPU time per image", "its peak memory"]),
        ("telemetry", ["watched against unwatched", "its CPU time per image"]),
        ("stall", ["a checkpoint's stall", "the same against torch.save"]),
        (
            "scaling",
            [
                "2 ranks against as many of bare DDP",
                "ours, 2 ranks against 2 times",
                "bare DDP, 2 ranks against 2 times",
            ],
        ),
        ("startup", ["start to first step against imports", "the same against these and a first step"]),
    ],
)
def test_each_pair_is_a_row_with_its_ratio(
    measure: str, rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    assert main(["training", f"--{measure}", *TINY, "--json", str(written)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == " ".join(HEAD).split()
    assert [line.startswith(row) for line, row in zip(lines, rows, strict=True)] == [True] * len(rows)
    saved = json.loads(written.read_text())
    assert saved["options"]["steps"] == 2
    assert saved["machine"]["cores"] >= 1
    for row in saved[measure]:
        assert row["ours"] > 0
        assert row["theirs"] > 0
        assert row["spread"][0] <= row["ratio"] <= row["spread"][1]


@pytest.mark.slow
def test_a_peer_s_script_is_run_beside_ours_and_its_failure_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = tmp_path / "train.py"
    peer.write_text("for step in range(3): print(f'Train: 0 [ {step}/3]', flush=True)\nimport time; time.sleep(60)\n")
    assert main(["training", "--peer-timm", str(peer), *TINY]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split("  ")[0] for line in lines[1:]] == [
        "fp32, NCHW, against timm",
        "our defaults against timm",
        "start to first step of timm",
        "start to first step against the faster",
        "start to first step, our defaults",
    ]
    peer.write_text("raise RuntimeError('Unknown model (resnet20)')\n")
    assert main(["training", "--peer-timm", str(peer), *TINY]) == 1
    assert capsys.readouterr().err.endswith("failed: timm: RuntimeError: Unknown model (resnet20)\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to measure: add --models, --engine"),
        (["--models", "--pattern", "resnet5O"], "--pattern: 'resnet5O' is unknown; did you mean resnet50"),
        (["--models", "--batch", "1"], "batch: 1; must be at least 2"),
        (["--engine", "--steps", "0"], "--steps: 0; must be at least 1"),
        (["--startup", "--starts", "0"], "--starts: 0; must be at least 1"),
        (["--models", "--pattern", "inception", "--image-size", "64"], "64 is too small for inception_v3"),
        (["--scaling", "--image-size", "16"], "--image-size: 16 is too small for resnet18"),
        (["--models", "--json", "no/such/folder.json"], "--json: no/such/folder.json cannot be a file"),
        (["--peer-timm", "no/train.py"], "no/train.py is not a file; name its train.py: git clone https://"),
        (["--peer-torchvision", "."], "is not a file; name its references/classification/train.py"),
        (["--engine", "--data", "."], "--data: has no effect without --startup, --peer-* or --equivalence"),
        (["--startup", "--data", "no/images"], "--data: no/images has no folder train; expected ROOT/train/<class>/"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["training", *arguments]) == 2
    assert problem in capsys.readouterr().err
