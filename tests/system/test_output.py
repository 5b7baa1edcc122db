"""What becomes of a run's output does not become of the run: dead readers, closed terminals, full logs."""

import os
import signal
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.system.running import await_step, curves, last_step, points, records, same_bits, start, state
from trainer.stopping import START_AGAIN

pytestmark = pytest.mark.slow


def errors_to_a_full_disk() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def no_output_and_no_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts a command
    os.close(1)


def test_a_run_outlives_its_terminal_and_the_readers_of_its_output(images: Path, whole: Path, tmp_path: Path) -> None:
    process = start(images, tmp_path, before=errors_to_a_full_disk)
    assert process.stdout
    assert process.stdout.readline()
    process.stdout.close()  # as `tee` when Ctrl-C ends it
    await_step(process, tmp_path, 20)
    process.send_signal(signal.SIGHUP)  # as a terminal that is closed
    assert process.wait(HANGS_S) == START_AGAIN
    assert state(tmp_path)["step"] == last_step(tmp_path) >= 20
    lost = [text for record in records(tmp_path) for text in record.get("lost_output", ())]
    assert lost[0] == "stdout cannot be written: Broken pipe"
    assert len(lost) == len({*lost})

    process = start(images, tmp_path, before=no_output_and_no_hangup)
    await_step(process, tmp_path, last_step(tmp_path) + 1)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=HANGS_S)
    assert (process.returncode, "Traceback" in output) == (0, False)
    assert same_bits(state(tmp_path), state(whole))
    assert points(tmp_path) == points(whole)
    assert curves(tmp_path) == curves(whole)
