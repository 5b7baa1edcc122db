from pathlib import Path

import pytest

from trainer.bench.config import LoopTask
from trainer.bench.process import Contestant, FailedError, last_words


def task(folder: Path, network: str) -> LoopTask:
    return LoopTask(
        loop="bare",
        network=network,
        num_classes=10,
        image_size=32,
        batch=2,
        steps=2,
        precision="fp32",
        channels_last=True,
        threads=1,
        folder=folder,
    )


def test_a_loop_is_given_turns_in_a_process_of_its_own(tmp_path: Path) -> None:
    contestant = Contestant(task(tmp_path, "resnet20"))
    try:
        rates = [contestant.turn(), contestant.turn()]
    finally:
        contestant.close()
    assert min(rates) > 0
    assert len(contestant.cpu_ms) == 2
    assert contestant.peak > 100e6  # torch alone is more


def test_a_loop_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="resnet2O"):
        Contestant(task(tmp_path, "resnet2O"))


def test_who_says_nothing_is_known_by_its_code() -> None:
    assert last_words("  \n", 9) == "ended with code 9"
    assert last_words("Traceback\nOSError: it\n\n", 1) == "OSError: it"
