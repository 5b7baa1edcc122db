from pathlib import Path

import pytest

from data.bench.talk import FailedError
from tests.trainer.bench.tasks import tiny
from trainer.bench.process import Contestant


def test_a_loop_is_given_turns_in_a_process_of_its_own(tmp_path: Path) -> None:
    contestant = Contestant(tiny(tmp_path, "resnet20"))
    try:
        rates = [contestant.turn(), contestant.turn()]
    finally:
        contestant.close()
    assert min(rates) > 0
    assert len(contestant.cpu_ms) == 2
    assert contestant.peak > 100e6  # torch alone is more


def test_a_loop_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="resnet2O"):
        Contestant(tiny(tmp_path, "resnet2O"))
