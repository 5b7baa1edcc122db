import subprocess
import sys

import pytest

from trainer.terminal import clean, in_one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, with a\ttab and é", "plain, with a\ttab and é"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1bcreset", "reset"),
        ("\x1b", ""),
        ("bell \x07, back \x08, delete \x7f", "bell \ufffd, back \ufffd, delete \ufffd"),
        ("C1 \x9b31m", "C1 \ufffd31m"),
        ("turned \u202eround", "turned \ufffdround"),
        ("half \udcff", "half \ufffd"),
    ],
)
def test_nothing_that_moves_the_cursor_reaches_a_terminal(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_several_lines_become_one() -> None:
    assert in_one_line("a\n  b\r\nc") == "a b c"


def test_a_character_that_stdout_lacks_is_marked() -> None:
    code = "from trainer import terminal; terminal.write('caf\\u00e9 \\u2713\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONIOENCODING": "latin-1"}
    )
    assert done.stdout == b"caf\xe9 ?\n"
