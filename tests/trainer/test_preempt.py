import os
import signal
from collections.abc import Iterator

import pytest

from trainer.preempt import StopFlag, StopRequestedError

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@pytest.fixture
def flag() -> Iterator[StopFlag]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    installed = StopFlag()
    installed.install()
    yield installed
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_is_asked_at_first(flag: StopFlag) -> None:
    assert not flag.is_set
    flag.check()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_sets_the_flag_and_does_nothing_else(flag: StopFlag, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    assert flag.is_set
    with pytest.raises(StopRequestedError, match=number.name):
        flag.check()
