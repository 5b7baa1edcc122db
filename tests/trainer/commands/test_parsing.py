import os
import sys

import pytest

from trainer.commands.parsing import plain, plain_refusals

FRAME = """\
╭─ Value error ──────────────────────────────────────────────────────────╮
│ Error parsing --epochs: invalid literal for int() with base 10: 'many' │
│ ────────────────────────────────────────────────────────────────────── │
│ Argument helptext:                                                     │
│     --epochs INT                                                       │
│     Passes over the training set. (default: 8)                         │
│ ────────────────────────────────────────────────────────────────────── │
│ For full helptext, see provenet train --help                           │
╰────────────────────────────────────────────────────────────────────────╯
"""
PLAIN = """\
cannot start; nothing was written
  --epochs: 'many' is no whole number
      --epochs INT
      Passes over the training set. (default: 8)
  For full helptext, see provenet train --help
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


HELP = "For full helptext, run provenet train --help"
SCREENS = [  # what tyro 1.0.3 and 1.0.17 say, between their rules, and what of it we say
    (["Expected one of {train, report}."], ["COMMAND: missing; one of train, report"]),
    (
        ["Unrecognized options: tarin, demo", "", "Available subcommands: train, report"],
        ["tarin, demo: unknown; did you mean train?", "Available subcommands: train, report"],
    ),
    (
        ["Unrecognized options: --verbose", "", "Available subcommands: train, report"],
        ["--verbose: unknown", "Available subcommands: train, report"],
    ),
    (
        ["Missing from provenet train:", "    --data PATH", "        Folder. (required)"],
        ["provenet train: missing", "    --data PATH", "        Folder. (required)"],
    ),
    (["Missing value for argument '--size'. Expected 2 values."], ["--size: wants 2 more"]),
    (["Missing value for argument '('--size',)'. Expected 2 values."], ["--size: wants 2 more"]),  # 1.0.3
    (
        ["invalid choice 'fp8' for argument '--precision'. Expected one of ('fp32', 'bf16')."],
        ["--precision: 'fp8'; expected one of 'fp32', 'bf16'"],
    ),
    (["Error parsing --lr: could not convert string to float: 'fast'"], ["--lr: 'fast' is no number"]),
    (
        [
            *("Error parsing --threads: no type matching {None}|INT could be instantiated from ['few'].", ""),
            *("Got errors:", "- <class 'NoneType'>: ['few'] does not match choices ('None',)"),
            *("- <class 'int'>: invalid literal for int() with base 10: 'few'", "", "Argument helptext:"),
            *("    --threads {None}|INT", "    CPU threads. (default: None)"),
        ],
        ["--threads: 'few'; expected {None}|INT", "    --threads {None}|INT", "    CPU threads. (default: None)"],
    ),
    (
        ["Unrecognized options: --lrr, 3", "", "Perhaps you meant:", "    --lr FLOAT"],
        ["--lrr, 3: unknown", "Perhaps you meant:", "    --lr FLOAT"],
    ),
]


@pytest.mark.parametrize(("screen", "expected"), SCREENS)
def test_each_tyro_s_refusals_are_put_alike(screen: list[str], expected: list[str]) -> None:
    rows = "".join(f"│ {row or '─' * 120:120} │\n" for row in [*screen, "", HELP])
    text = "".join(f"  {line}\n" for line in [*expected, HELP])
    assert plain(f"╭─ Title {'─' * 113}╮\n{rows}╰{'─' * 122}╯\n") == f"cannot start; nothing was written\n{text}"


def test_a_flag_of_another_trainer_is_answered_with_ours_where_it_means_the_same() -> None:
    for verb, hint in (("train", "  --amp: here it is --precision bf16 or fp16\n"), ("evaluate", "")):
        rows = ["Unrecognized options: --amp", f"For full helptext, run provenet {verb} --help"]
        text = plain("╭╮\n" + "".join(f"│ {row} │\n" for row in rows) + "╰╯\n")
        assert text == f"cannot start; nothing was written\n  --amp: unknown\n{hint}  {rows[1]}\n"


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
