import pytest

from tests.terminal import on_terminal, without_terminal

RUN = """
import time
from trainer import terminal
terminal.LINE_EVERY_S = 0.2
for item in terminal.progress(["a", "b", "c", "d"], "counting", "networks"):
    time.sleep(0.15)
with terminal.busy("writing the file"):
    time.sleep(0.2)
print("result")
"""


def test_a_terminal_shows_a_bar_and_what_takes_its_time() -> None:
    text, code = on_terminal("-c", RUN)
    assert code == 0
    for part in ("counting", "networks", "━", "writing the file", "result"):
        assert part in text


def test_a_log_file_gets_lines() -> None:
    lines = without_terminal("-c", RUN).text.splitlines()
    assert lines[-1] == "result"
    assert "writing the file" in lines
    assert next(line for line in lines if "counting" in line).startswith("counting: 2 of 4 networks, ")


@pytest.mark.parametrize("show", [on_terminal, without_terminal])
def test_quiet_leaves_the_result(show: type) -> None:
    assert show("-c", RUN, environment={"PROVENET_QUIET": "1"}).text.split() == ["result"]
