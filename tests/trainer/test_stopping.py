import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from trainer.stopping import StopFlag, StopRequestedError, ignore_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)


@pytest.fixture
def flag() -> Iterator[StopFlag]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, if it started the tests, ignores it
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


def test_a_hangup_that_arrives_ignored_stays_so(flag: StopFlag) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    flag.install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not flag.is_set


def test_a_process_that_ends_takes_no_notice_of_another_stop(flag: StopFlag) -> None:
    ignore_signals()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    assert not flag.is_set


def test_ctrl_c_three_times_ends_a_process_that_hangs() -> None:
    code = "from trainer.stopping import StopFlag; import time; StopFlag().install(); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            assert process.poll() is None
        while process.poll() is None:  # two that come before it has run again count once
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert process.returncode == -signal.SIGINT


def test_a_flag_gives_the_handlers_back_that_were_there() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    stop = StopFlag()
    with pytest.raises(ZeroDivisionError), stop.installed():
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_a_flag_in_another_thread_leaves_signals_alone() -> None:
    inside = list[bool]()

    def run() -> None:
        with StopFlag().installed():
            inside.append(signal.getsignal(signal.SIGTERM) == before)

    before = signal.getsignal(signal.SIGTERM)
    (thread := threading.Thread(target=run)).start()
    thread.join()
    assert inside == [True]
