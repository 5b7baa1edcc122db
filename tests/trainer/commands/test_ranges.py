import re
from collections.abc import Mapping

import pytest

from trainer.commands.cli import main
from trainer.commands.ranges import in_words


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"min": 1, "max": 1_000_000}, "1 to 1,000,000"),
        ({"min": 0.1, "max": 600}, "0.1 to 600"),
        ({"min": 0, "below": 1}, "from 0, below 1"),
        ({"above": 0, "max": 1}, "above 0, at most 1"),
        ({"above": 0, "below": 1}, "above 0, below 1"),
        ({"above": 0}, "above 0"),
        ({"min": 0}, "at least 0"),
    ],
)
def test_a_range_in_words(bounds: Mapping[str, float], words: str) -> None:
    assert in_words(bounds) == words


@pytest.mark.parametrize(
    ("words", "flag", "text"),
    [
        (
            ["train", "resnet50"],
            "--global-batch INT",
            "accumulated micro-batches. Range: 1 to 1,000,000. (default: 256)",
        ),
        (["train", "resnet50"], "--optimizer.momentum FLOAT", "Range: from 0, below 1. (default: 0.9)"),
        (["train", "resnet50"], "--input.crop-area FLOAT FLOAT", "Range: above 0, at most 1. (default: 0.08 1.0)"),
        (["train", "resnet50"], "--model.ghost {None}|INT", "Range: 2 to 64. (default: None)"),
        (["doctor", "resnet50"], "--seconds FLOAT", "Range: 1 to 3,600. (default: 60.0)"),
        (["doctor", "resnet50"], "--log-every INT", "Range: 1 to 1,000,000."),
        (["synth"], "--classes INT", "Classes, each a pair of shape and texture. Range: 2 to 40. (default: 10)"),
    ],
)
def test_the_help_of_a_flag_ends_with_its_range(
    words: list[str], flag: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = " ".join(re.sub("[─│╭╮╰╯]", " ", capsys.readouterr().out).split())
    assert text in re.split(" --[a-z]", shown.partition(flag)[2])[0]
