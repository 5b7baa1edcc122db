from pathlib import Path

import pytest

from tests.benchmarks.contestant import FailedError
from tests.benchmarks.loop_contestant import LoopContestant
from tests.benchmarks.tasks import tiny


def test_a_loop_is_given_turns_in_a_process_of_its_own(tmp_path: Path) -> None:
    contestant = LoopContestant(tiny(tmp_path, "resnet20"))
    try:
        rates = [contestant.turn(), contestant.turn()]
    finally:
        contestant.close()
    assert min(rates) > 0
    assert len(contestant.cpu_ms) == 2
    assert contestant.peak > 100e6  # torch alone is more


def test_a_loop_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="resnet2O"):
        LoopContestant(tiny(tmp_path, "resnet2O"))
