import pytest

from tests.terminal import on_terminal, without_terminal
from trainer.terminal import paced

RUN = """
import time
from trainer import terminal
terminal.LINE_EVERY_S = {every}
with terminal.counting("verify train", "images") as show:
    for done in range(0, 2001, 500):
        show(done, 2000)
        time.sleep(0.12)
print("2,000 images")
"""


def test_a_terminal_shows_a_bar() -> None:
    text, code = on_terminal("-c", RUN.format(every=5.0))
    assert code == 0
    for part in ("verify train", "1000/2000", "images/s", "━", "2,000 images"):
        assert part in text


def test_a_log_file_gets_lines() -> None:
    text, _ = without_terminal("-c", RUN.format(every=0.2))
    *lines, last = text.splitlines()
    assert last == "2,000 images"
    assert lines
    assert all(line.startswith("verify train: ") and line.endswith(" s left") for line in lines)
    assert " of 2,000 images, " in lines[0]


@pytest.mark.parametrize("show", [on_terminal, without_terminal])
def test_quiet_leaves_the_result(show: type) -> None:
    text = show("-c", RUN.format(every=0.0), environment={"PROVENET_QUIET": "1"}).text
    assert text.split() == ["2,000", "images"]


@pytest.mark.parametrize(
    ("rate", "words"), [(1234.4, "1,234 images/s"), (2.34, "2.3 images/s"), (0.01, "100 s each"), (0, "")]
)
def test_a_pace_is_in_words_that_fit_it(rate: float, words: str) -> None:
    assert paced(rate, "images") == words
