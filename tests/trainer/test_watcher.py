"""Processes that wait in native code for ever, where Python runs no signal handler."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from trainer.exits import EXIT_CODE_VARIABLE
from trainer.stopping import START_AGAIN, StopFlag
from trainer.watcher import watching
from trainer.world import PODMAN

HEAD = """
import ctypes, hashlib, os, signal, sys, time
from trainer import watcher
from trainer.stopping import StopFlag
watcher.HANGS_S, watcher._COMPUTES, watcher._ANSWER_S, watcher._LOOK_S = 0.2, 0.02, 0.05, 0.05
watcher.has_gpu = lambda: False
libc, lock, stop = ctypes.CDLL(None), ctypes.create_string_buffer(64), StopFlag()
def hang():
    libc.pthread_mutex_lock(lock)
    print("hangs", flush=True)
    libc.pthread_mutex_lock(lock)
stop.install()
with watcher.watching(stop, launched="launched" in sys.argv):
    stop.met = "met" in sys.argv
"""
HANGS = f"{HEAD}    hang()\n"
HANGS_AFTER_A_SIGNAL = f"""{HEAD}
    print("runs", flush=True)
    while not stop.is_set:
        time.sleep(0.01)
    hang()
"""
COMPUTES = f"""{HEAD}
    print("computes", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000)  # one native call
print(stop.noticed, flush=True)
"""
FORKS = f"""{HEAD}
    stop.met = False
    if (child := os.fork()) == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.3)
"""


class Started:
    """A program that has printed a line."""

    def __init__(self, stack: ExitStack, code: Path, program: str, *words: str) -> None:
        code.touch()
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", program, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, EXIT_CODE_VARIABLE: str(code)},
            )
        )
        stack.callback(self.process.kill)
        self.code = code
        self.await_line()

    def await_line(self) -> None:
        assert self.process.stdout
        self.process.stdout.readline()

    def send(self, number: signal.Signals) -> None:
        """Send a signal once the main thread sleeps: where it hangs, or between two looks."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.005)
        self.process.send_signal(number)

    def lives_on(self) -> bool:
        time.sleep(1)
        return self.process.poll() is None

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=HANGS_S)
        code = self.code.read_text().partition("\n")[0]
        assert (self.process.returncode, code) == (START_AGAIN, str(START_AGAIN)), output
        return output


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_before_the_processes_have_met_one_signal_ends_a_wait(
    number: signal.Signals, stack: ExitStack, tmp_path: Path
) -> None:
    hanging = Started(stack, tmp_path / "code", HANGS)
    hanging.send(number)
    assert hanging.end() == f"stopped by {number.name} before the first step; the same command starts again\n"


def test_after_that_the_second_signal_ends_a_main_thread_that_hangs(stack: ExitStack, tmp_path: Path) -> None:
    hanging = Started(stack, tmp_path / "code", HANGS_AFTER_A_SIGNAL, "met")
    hanging.send(signal.SIGUSR2)
    hanging.await_line()
    assert hanging.lives_on()
    hanging.send(signal.SIGTERM)  # the first that the main thread does not notice: its peers may be saving
    assert hanging.lives_on()
    while hanging.lives_on():
        hanging.send(signal.SIGTERM)
    assert "stopped by SIGTERM while it hung" in hanging.end()


def test_a_main_thread_that_computes_is_no_hanging_one(stack: ExitStack, tmp_path: Path) -> None:
    computing = Started(stack, tmp_path / "code", COMPUTES, "met").process
    for number in (signal.SIGUSR2, signal.SIGTERM):
        time.sleep(0.05)
        computing.send_signal(number)
    output, _ = computing.communicate(timeout=HANGS_S)
    assert (computing.returncode, output) == (0, "2\n")


def test_the_signals_of_a_forked_process_are_not_taken_for_one_s_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("phase", ["start", "met"])
def test_a_process_ends_with_its_launcher_even_if_it_hangs(phase: str, tmp_path: Path) -> None:
    launcher, code = orphaned(tmp_path, "launched", phase)
    with launcher:
        output, _ = launcher.communicate(timeout=HANGS_S)
    assert "the launcher of this process has died: stopping as at SIGTERM\nstopped by SIGTERM " in output
    assert code.read_text().partition("\n")[0] == str(START_AGAIN)


def test_a_process_in_a_container_of_podman_ends_with_podman_which_is_not_its_parent(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.touch()
    with subprocess.Popen(["sleep", "600"]) as podman:
        environment = {**os.environ, EXIT_CODE_VARIABLE: str(code), PODMAN: str(podman.pid)}
        words = [sys.executable, "-c", HANGS, "launched", "met"]
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as one:
            assert one.stdout and one.stdout.readline() == "hangs\n"
            podman.kill()
            podman.wait()
            assert (
                "the launcher of this process has died: stopping as at SIGTERM\n" in one.communicate(timeout=HANGS_S)[0]
            )
    assert code.read_text().partition("\n")[0] == str(START_AGAIN)


def test_a_process_that_a_shell_started_outlives_it(tmp_path: Path) -> None:
    launcher, code = orphaned(tmp_path, "pid")
    with launcher:
        time.sleep(1)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # fails if it is gone
        assert launcher.communicate(timeout=HANGS_S)[0] == ""
    assert code.read_text() == ""


def orphaned(folder: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that hangs, whose parent has been killed; and the file of its exit code."""
    code = folder / "code"
    code.touch()
    parent = "import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', *sys.argv[2:]]);"
    parent += "open(sys.argv[1], 'w').write(str(p.pid)); p.wait()"
    launcher = subprocess.Popen(
        [sys.executable, "-c", parent, str(folder / "pid"), HANGS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, EXIT_CODE_VARIABLE: str(code)},
    )
    assert launcher.stdout
    launcher.stdout.readline()
    launcher.kill()
    return launcher, code


def test_nothing_is_left_of_it_behind_its_block() -> None:
    before = signal.set_wakeup_fd(-1)
    with watching(StopFlag(), launched=False):
        pass
    assert signal.set_wakeup_fd(before) == -1
