import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch import attempts
from launch.attempts import Attempt, End, Then
from launch.cli import main
from launch.commands.logs import Logs, has_ended
from launch.submission import LaunchFolder, Submission
from tests import commands
from tests.launch.commands.test_status import make

LOG = b"""\
prolog
launch: attempt 1 of job 12 on n[1-2], from step 0
0: a0
 1: a1
10: a10
launch: attempt 1: aborted
launch: attempt 2 of job 12 on n[1-2], from step 40
0: 10 %\r20 %\r
 1: \x1b[31mb1\x1b[0m
0: b0
"""
FIRST = ["launch: attempt 1 of job 12 on n[1-2], from step 0", "0: a0", " 1: a1", "10: a10"]
SECOND = ["launch: attempt 2 of job 12 on n[1-2], from step 40", "0: 10 %", "0: 20 %", " 1: b1", "0: b0"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of job 12, with two attempts; the second is under way."""
    path = make(tmp_path / "r", "12", "again", None).path
    log(path).write_bytes(LOG)
    return path


def log(run: Path, job: str = "12") -> Path:
    return run / "launch" / f"{job}_0_log.out"


def shown(run: Path, **flags: Any) -> list[str]:
    done = commands.call(lambda _: Logs(run_directory=run, **flags).run())
    assert done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, ["prolog", *FIRST, "launch: attempt 1: aborted", *SECOND]),
        ({"lines": 2}, [" 1: b1", "0: b0"]),
        ({"lines": 3}, ["0: 20 %", " 1: b1", "0: b0"]),  # from within a line of the file
        ({"rank": 0}, ["a0", "10 %", "20 %", "b0"]),
        ({"rank": 1, "lines": 1}, ["b1"]),
        ({"rank": 10}, ["a10"]),
        ({"rank": 7}, []),
        ({"attempt": 1}, [*FIRST, "launch: attempt 1: aborted"]),
        ({"attempt": 1, "lines": 2}, ["10: a10", "launch: attempt 1: aborted"]),
        ({"attempt": 2}, SECOND),
        ({"attempt": 1, "rank": 0}, ["a0"]),
        ({"lines": 0, "rank": 0}, ["a0", "10 %", "20 %", "b0"]),
    ],
)
def test_lines_are_chosen_by_rank_attempt_and_number(run: Path, flags: dict[str, Any], expected: list[str]) -> None:
    assert shown(run, **flags) == expected


def test_a_last_line_that_is_not_whole_is_shown(run: Path) -> None:
    with log(run).open("ab") as stream:
        stream.write(b"0: cut")
    assert shown(run, lines=2) == ["0: b0", "0: cut"]


def test_an_attempt_of_an_earlier_job_is_in_that_job_s_log(run: Path) -> None:
    folder = LaunchFolder(run)
    attempts.begin(folder.attempts, job="13", restart=0, nodes="n1", step=0)
    queued = folder.submission()
    assert queued
    fields = {name: getattr(queued, name) for name in ("kind", "time", "code", "commit", "request", "site")}
    folder.record(Submission(job="13", log=str(log(run, "13")), **fields))
    log(run, "13").write_text("launch: attempt 3 of job 13 on n1, from step 0\n")
    assert shown(run) == shown(run, attempt=3) == ["launch: attempt 3 of job 13 on n1, from step 0"]
    assert shown(run, attempt=2) == SECOND


def test_a_run_directory_that_was_moved_keeps_its_log(run: Path, tmp_path: Path) -> None:
    run.rename(tmp_path / "moved")
    assert shown(tmp_path / "moved", lines=1) == ["0: b0"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"attempt": 9}, "--attempt: 9 has no lines in RUN/launch/12_0_log.out, which holds 1, 2"),
        ({"lines": -1}, "--lines: -1; must be at least 0"),
        ({"rank": -1}, "--rank: -1; must be at least 0"),
        ({"attempt": 0}, "--attempt: 0; must be at least 1"),
        ({"run_directory": Path("nowhere")}, "RUN: nowhere is not a folder"),
        ({"run_directory": Path("/etc")}, "RUN: /etc is not a run directory: it holds no recipe.yaml"),
    ],
)
def test_bad_input_is_refused(run: Path, flags: dict[str, Any], expected: str) -> None:
    done = commands.call(lambda _: Logs(**{"run_directory": run, **flags}).run())
    assert done.returncode == 2
    assert expected.replace("RUN/", f"{run}/") in commands.said(done)


def test_a_run_without_a_sound_submission_is_refused(run: Path) -> None:
    (run / "launch" / "submission.json").write_text("{")
    assert "remove it and submit again" in commands.call(main, "logs", run).stderr
    (run / "launch" / "submission.json").unlink()
    assert "provenet submit RECIPE --output" in commands.call(main, "logs", run).stderr


def test_a_job_that_has_written_nothing_is_no_error(run: Path) -> None:
    log(run).unlink()
    done = commands.call(lambda _: Logs(run_directory=run).run())
    assert (done.returncode, done.stdout) == (0, "")
    assert "launch: job 12 has written nothing yet" in done.stderr


@pytest.mark.parametrize(
    ("ends", "cancelled", "number", "expected"),
    [
        ([], False, None, False),
        ([], True, None, True),
        ([None], False, None, False),
        ([None], True, None, False),
        (["again"], False, None, False),
        (["again"], True, None, True),
        (["again", None], False, None, False),
        (["again", "done"], False, None, True),
        (["stopped"], False, None, True),
        (["cancelled"], True, None, True),
        (["again", None], False, 1, True),
        (["again", None], False, 2, False),
        ([None, None], False, 1, True),  # its node was lost
    ],
)
def test_a_job_has_ended_once_its_attempts_say_so(
    tmp_path: Path, ends: list[Then | None], cancelled: bool, number: int | None, expected: bool
) -> None:
    folder = LaunchFolder(make(tmp_path / "r", "12", *ends).path)
    if cancelled:
        folder.cancel("12")
    assert has_ended(folder, "12", number) is expected


class Follower:
    """`logs --follow` in a process of its own."""

    def __init__(self, run: Path, flags: str = "") -> None:
        self.file = run.with_suffix(".out")
        code = (
            f"import sys; from pathlib import Path; from launch.commands.logs import Logs; run = Path({str(run)!r}); "
        )
        code += f"sys.exit(Logs(run_directory=run, follow=True, {flags}).run())"
        with self.file.open("wb") as out, run.with_suffix(".err").open("wb") as errors:
            self.process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=errors)

    def wait_for(self, holds: Callable[[str], bool], suffix: str = ".out") -> None:
        file, deadline = self.file.with_suffix(suffix), time.monotonic() + commands.HANGS_S
        while not holds(file.read_text()):
            assert time.monotonic() < deadline, file.read_text()
            time.sleep(0.05)

    def end(self) -> str:
        assert self.process.wait(timeout=commands.HANGS_S) == 0
        return self.file.read_text()


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    """Starts followers, and leaves none behind."""
    started: list[Follower] = []

    def start(run: Path, flags: str = "") -> Follower:
        started.append(Follower(run, flags))
        return started[-1]

    yield start
    for follower in started:
        follower.process.kill()
        follower.process.wait()


def finish(run: Path, then: Then) -> None:
    begun: Attempt = attempts.read(LaunchFolder(run).attempts)[-1]
    end = End(code=0, step=50, then=then, why="", time=0)
    attempts.end(LaunchFolder(run).attempts, begun, end)


def test_following_outlasts_a_file_to_come_and_one_that_is_cut_and_ends_with_the_run(
    run: Path, follow: Callable[..., Follower]
) -> None:
    log(run).unlink()
    follower = follow(run, "lines=1")
    follower.wait_for(lambda text: "has written nothing yet" in text, ".err")
    log(run).write_bytes(b"0: one\n0: par")
    follower.wait_for(lambda text: text == "0: one\n")
    with log(run).open("ab") as stream:
        stream.write(b"tial\n 1: two\n")
    follower.wait_for(lambda text: text.endswith("0: partial\n 1: two\n"))
    log(run).write_bytes(b"anew\n")
    follower.wait_for(lambda text: text.endswith("anew\n"))
    finish(run, "stopped")
    with log(run).open("ab") as stream:
        stream.write(b"last words")
    assert follower.end() == "0: one\n0: partial\n 1: two\nanew\nlast words\n"
    assert "was cut or replaced; shown from its beginning" in run.with_suffix(".err").read_text()


def test_following_an_attempt_ends_where_the_next_begins(run: Path, follow: Callable[..., Follower]) -> None:
    follower = follow(run, "attempt=2, lines=1")
    follower.wait_for(lambda text: text == "0: b0\n")
    with log(run).open("ab") as stream:
        stream.write(b"0: more\nlaunch: attempt 3 of job 12 on n1, from step 40\n0: c\n")
    assert follower.end() == "0: b0\n0: more\n"


def test_ctrl_c_ends_following_without_failing(run: Path, follow: Callable[..., Follower]) -> None:
    follower = follow(run, "rank=0, lines=1")
    follower.wait_for(lambda text: text == "b0\n")
    follower.process.send_signal(signal.SIGINT)
    follower.end()
    assert "Traceback" not in run.with_suffix(".err").read_text()


def test_a_reader_that_leaves_is_no_failure(run: Path) -> None:
    log(run).write_bytes(LOG * 20_000)
    command = [sys.executable, "-m", "launch", "logs", str(run), "--lines", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"prolog\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
