import pytest

from tests.terminal import on_terminal, without_terminal

RUN = """
import time
from trainer import console
console.LINE_EVERY_S = {every}
shown = console.Console(quiet={quiet})
shown.narrate("starting")
for step in range(1, 4):
    shown.training(f"step {{step}}/3", step, 3)
    time.sleep(0.15)
for done in range(10_000, 50_001, 10_000):
    shown.evaluating(done, 50_000)
    time.sleep(0.15)
shown.say("top-1 76.13 %")
shown.close()
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_shows_a_bar_of_both_and_nothing_of_it_stays(quiet: bool) -> None:
    text, code = on_terminal("-c", RUN.format(every=10.0, quiet=quiet))
    assert code == 0
    assert "top-1 76.13 %" in text
    for part in ("starting", "step 2/3", "evaluating 20,000 of 50,000 images", "━"):
        assert (part in text) is not quiet


def test_after_an_evaluation_the_bar_is_training_s_again() -> None:
    text, _ = on_terminal("-c", RUN.format(every=10.0, quiet=False))
    assert text.rindex("step 3/3") > text.rindex("evaluating 40,000")
    assert "evaluating 50,000" not in text


def test_a_log_file_gets_a_line_now_and_then() -> None:
    text, _ = without_terminal("-c", RUN.format(every=0.25, quiet=False))
    lines = text.splitlines()
    assert lines[:2] == ["starting", "step 1/3"]
    assert lines[-1] == "top-1 76.13 %"
    told = [line for line in lines if line.startswith("evaluating")]
    assert told == ["evaluating 30,000 of 50,000 images"]


def test_a_short_evaluation_is_no_line_in_a_log_file() -> None:
    text, _ = without_terminal("-c", RUN.format(every=10.0, quiet=False))
    assert text.splitlines() == ["starting", "step 1/3", "step 3/3", "top-1 76.13 %"]


def test_a_quiet_log_file_has_results_alone() -> None:
    text, _ = without_terminal("-c", RUN.format(every=0.0, quiet=True))
    assert text.splitlines() == ["top-1 76.13 %"]
