import json
from pathlib import Path

import pytest

from trainer.cli import main


def test_networks_are_timed_beside_their_counterparts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "bench.json"
    arguments = ["--pattern", "resnet2?", "--batch", "2", "--rounds", "3", "--json", str(written)]
    assert main(["bench", "--models", *arguments]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["name", "counterpart"]
    assert row.startswith("resnet20")
    (saved,) = json.loads(written.read_text())["rows"]
    assert saved["ours_ms"] > 0
    assert saved["spread"][0] <= saved["ratio"] <= saved["spread"][1]
    assert 0.2 < saved["ratio"] < 5  # the same network: a slip in the clock or the pairing would leave this


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "add --models"),
        (["--models", "--pattern", "resnet5O"], "--pattern: 'resnet5O' is unknown; did you mean resnet50"),
        (["--models", "--batch", "1"], "batch: 1; must be at least 2"),
        (["--models", "--pattern", "inception", "--image-size", "64"], "64 is too small for inception_v3"),
        (
            ["--models", "--pattern", "resnet20", "--json", "no/such/folder.json"],
            "--json: no/such/folder.json cannot be a file",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert problem in capsys.readouterr().err
