import os
import sys

import pytest

from data.commandline import plain, plain_refusals, union

FRAME = """\
╭─ Value error ──────────────────────────────────────────────────────────╮
│ Error parsing --epochs: invalid literal for int() with base 10: 'many' │
│ ────────────────────────────────────────────────────────────────────── │
│ Argument helptext:                                                     │
│     --epochs INT                                                       │
│     Passes over the training set. (default: 8)                         │
│ ────────────────────────────────────────────────────────────────────── │
│ For full helptext, see python -m trainer --help                        │
╰────────────────────────────────────────────────────────────────────────╯
"""
PLAIN = """\
cannot start; nothing was written
  --epochs: 'many' is no whole number
      --epochs INT
      Passes over the training set. (default: 8)
  python -m trainer --help tells more
"""


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (FRAME, PLAIN),
        (FRAME.translate(str.maketrans("╭╮╰╯│─", "     -")), PLAIN),  # where the output takes no such characters
        (FRAME.replace("--epochs:", "\x1b[1;31m--epochs:\x1b[0m"), PLAIN),
        ("words without a frame\n", "words without a frame\n"),
        ("", ""),  # on a rank that has nothing to say
    ],
)
def test_a_frame_becomes_plain_lines(frame: str, expected: str) -> None:
    assert plain(frame) == expected


def test_a_long_frame_is_cut_to_a_screen() -> None:
    text = plain("╭╮\n" + "".join(f"│ line {number} │\n" for number in range(40)) + "╰╯\n")
    assert len(text.splitlines()) == 14
    assert text.endswith("  and 28 lines more\n")


def test_a_refusal_is_put_plainly_and_the_width_put_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    with pytest.raises(SystemExit, match="2"), plain_refusals(["--epochs", "many"]):
        sys.stderr.write(FRAME)
        sys.exit(2)
    assert capsys.readouterr().err == PLAIN
    assert os.environ["COLUMNS"] == "77"


def test_what_is_no_refusal_is_let_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"), plain_refusals([]):
        sys.stderr.write("words\n")
        sys.exit(1)
    assert capsys.readouterr().err == "words\n"


def test_a_warning_of_a_parser_that_goes_on_is_let_through(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_refusals([]):
        sys.stderr.write("warning\n")
    assert capsys.readouterr().err == "warning\n"


class Walk:
    """Go on foot.

    Slowly.
    """


@pytest.mark.parametrize(("arguments", "line"), [([], "Go on foot."), (["--help"], "Go on foot."), (["walk"], None)])
def test_an_overview_has_first_lines(arguments: list[str], line: str | None) -> None:
    assert union({"walk": Walk}, arguments).__metadata__[0].description == line
