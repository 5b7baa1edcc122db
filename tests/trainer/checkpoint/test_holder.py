import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from trainer.checkpoint import holder_file
from trainer.checkpoint.holder import FencedError, HeldError, Hold
from trainer.stopping import StopRequestedError

BEAT_S = 0.15

# says "taken" and keeps the directory until its input says a line or ends
HOLDER = """
import sys
from pathlib import Path
from trainer.checkpoint.holder import FencedError, HeldError, Hold
try:
    with Hold.take(Path(sys.argv[1]), print, lambda: None, beat_s=float(sys.argv[2])) as hold:
        print("taken", flush=True)
        sys.stdin.readline()
        hold.check()
except FencedError as error:
    print("lost", error, flush=True)
except HeldError as error:
    print("refused", error, flush=True)
"""

# the same where the kernel answers as NFS does without its lock daemon
LOCKLESS = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""


@contextmanager
def process(file: Path, code: str = HOLDER, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, str(file), str(BEAT_S)]
    variables = {**os.environ, **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) as started:
        try:
            yield started
        finally:
            started.kill()


def line(started: subprocess.Popen[str]) -> str:
    assert started.stdout
    return started.stdout.readline()


def take(file: Path, said: list[str] | None = None, should_stop: Callable[[], None] = lambda: None) -> Hold:
    return Hold.take(file, [].append if said is None else said.append, should_stop, beat_s=BEAT_S)


def abroad(file: Path, **changes: object) -> dict[str, object]:
    """Make the file that of a process on another machine."""
    with take(file):
        record = json.loads(file.read_text())
    record |= {"token": "theirs", "host": "far", "machine": "another boot", "pid": 7} | changes
    file.write_text(json.dumps(record))
    return record


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@contextmanager
def heartbeat(file: Path) -> Iterator[None]:
    """Somebody far away who lives."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            os.utime(file)

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.parametrize("code", [HOLDER, LOCKLESS + HOLDER], ids=["locks", "no locks"])
def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path, code: str) -> None:
    file = tmp_path / "holder.json"
    with process(file, code, SLURM_JOB_ID="4711") as first:
        assert line(first) == "taken\n"
        with process(file, code) as second:
            said = line(second)
            assert f"{tmp_path} is in use by process {first.pid} on {os.uname().nodename} of Slurm job 4711" in said
            assert "wait for it, stop it, or name another --output" in said


@pytest.mark.parametrize("code", [HOLDER, LOCKLESS + HOLDER], ids=["locks", "no locks"])
def test_the_directory_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, code: str) -> None:
    file = tmp_path / "holder.json"
    with process(file, code) as first:
        assert line(first) == "taken\n"
        first.kill()
        first.wait()
        with process(file, code) as second:
            said = line(second)
            assert said.startswith(f"{tmp_path} was held by process {first.pid} on ")
            assert said.endswith(", which is gone; taken over\n")
            assert line(second) == "taken\n"


def test_the_same_process_cannot_hold_a_directory_twice(tmp_path: Path) -> None:
    with take(tmp_path / "holder.json"), pytest.raises(HeldError, match=f"process {os.getpid()} "):
        take(tmp_path / "holder.json")


@pytest.mark.parametrize(("code", "trials"), [(HOLDER, 20), (LOCKLESS + HOLDER, 3)], ids=["locks", "no locks"])
def test_one_of_two_processes_wins_a_fresh_directory(tmp_path: Path, code: str, trials: int) -> None:
    for trial in range(trials):
        file = tmp_path / f"{trial}.json"
        with process(file, code) as first, process(file, code) as second:
            assert sorted(word.split()[0] for word in (line(first), line(second))) == ["refused", "taken"]


def test_a_silent_holder_on_another_machine_is_outwaited(tmp_path: Path) -> None:
    abroad(tmp_path / "holder.json", job="12")
    said: list[str] = []
    start = time.monotonic()
    with take(tmp_path / "holder.json", said):
        assert time.monotonic() - start >= 4 * BEAT_S
    assert "held by process 7 on far of Slurm job 12" in said[0]
    assert "watching for 0.6 s" in said[0]
    assert said[1].endswith("which is gone; taken over")


def test_a_holder_on_another_machine_that_beats_is_left_alone(tmp_path: Path) -> None:
    abroad(tmp_path / "holder.json")
    with heartbeat(tmp_path / "holder.json"), pytest.raises(HeldError, match="process 7 on far"):
        take(tmp_path / "holder.json")
    assert json.loads((tmp_path / "holder.json").read_text())["token"] == "theirs"


def test_a_live_holder_beats(tmp_path: Path) -> None:
    with take(tmp_path / "holder.json") as hold:
        before = (tmp_path / "holder.json").stat().st_mtime_ns
        assert eventually(lambda: (tmp_path / "holder.json").stat().st_mtime_ns != before)
        assert not hold.lost


def test_waiting_ends_when_a_stop_is_asked_for(tmp_path: Path) -> None:
    def stop() -> None:
        raise StopRequestedError("SIGTERM")

    abroad(tmp_path / "holder.json")
    with pytest.raises(StopRequestedError):
        take(tmp_path / "holder.json", should_stop=stop)
    assert json.loads((tmp_path / "holder.json").read_text())["token"] == "theirs"


def test_a_process_that_was_cut_off_notices_and_leaves_the_file_to_the_other(tmp_path: Path) -> None:
    hold = take(tmp_path / "holder.json")
    record = json.loads((tmp_path / "holder.json").read_text()) | {"token": "theirs", "host": "far", "pid": 7}
    hold.check()
    (tmp_path / "holder.json").write_text(json.dumps(record))
    assert eventually(lambda: hold.lost)
    with pytest.raises(FencedError, match=r"taken over by process 7 on far.*stops without writing"):
        hold.check()
    hold.release()
    assert json.loads((tmp_path / "holder.json").read_text()) == record


def test_a_job_that_slurm_started_again_replaces_its_first_process_even_if_that_lives(tmp_path: Path) -> None:
    file = tmp_path / "holder.json"
    with process(file, SLURM_JOB_ID="12") as first:
        assert line(first) == "taken\n"
        with process(file, SLURM_JOB_ID="12", SLURM_RESTART_COUNT="1") as second:
            assert "which Slurm replaced by this one" in line(second)
            assert line(second) == "taken\n"
            assert json.loads(file.read_text())["pid"] == second.pid


def test_a_process_that_hangs_is_superseded_and_notices_when_it_wakes(tmp_path: Path) -> None:
    file = tmp_path / "holder.json"
    with process(file, SLURM_JOB_ID="12") as first:
        assert line(first) == "taken\n"
        first.send_signal(signal.SIGSTOP)
        with process(file, SLURM_JOB_ID="12", SLURM_RESTART_COUNT="1") as second:
            assert "which Slurm replaced by this one" in line(second)
            assert line(second) == "taken\n"
            first.send_signal(signal.SIGCONT)
            assert first.stdin
            first.stdin.write("\n")
            first.stdin.flush()
            assert line(first).startswith("lost")
            assert json.loads(file.read_text())["pid"] == second.pid


def test_a_stopped_process_is_not_superseded_by_another_job(tmp_path: Path) -> None:
    with process(tmp_path / "holder.json", SLURM_JOB_ID="12") as first:
        assert line(first) == "taken\n"
        first.send_signal(signal.SIGSTOP)
        with process(tmp_path / "holder.json", SLURM_JOB_ID="13", SLURM_RESTART_COUNT="1") as second:
            assert line(second).startswith("refused")


def test_release_leaves_nothing_behind(tmp_path: Path) -> None:
    hold = take(tmp_path / "holder.json")
    hold.release()
    hold.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": 1}', "null", "x" * 5000, "\x00" * 100, "\xff"])
def test_a_damaged_file_stops_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "holder.json").write_text(text, encoding="latin-1")
    with take(tmp_path / "holder.json") as hold:
        assert json.loads((tmp_path / "holder.json").read_text())["token"] == hold.token


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("{")], ids=["removed", "damaged"])
def test_the_holder_mends_its_file(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    def mended() -> bool:
        with suppress(OSError, ValueError):
            return json.loads((tmp_path / "holder.json").read_text())["token"] == hold.token
        return False

    with take(tmp_path / "holder.json") as hold:
        damage(tmp_path / "holder.json")
        hold.check()
        assert eventually(mended)
        assert not hold.lost
        with process(tmp_path / "holder.json") as second:
            assert line(second).startswith("refused")


def test_a_holder_s_unknown_fields_are_passed_over_and_a_newer_one_is_none_that_makes_sense(tmp_path: Path) -> None:
    file = tmp_path / "holder.json"
    ours = holder_file.ourselves()
    descriptor = holder_file.open_file(file)
    holder_file.write(descriptor, ours)
    os.close(descriptor)
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "colour": "red"}))
    assert holder_file.look(file).holder == ours
    file.write_text(json.dumps({**content, "schema": 9}))
    seen = holder_file.look(file)
    assert seen.holder is None
    assert seen.touched


def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "holder.json")
    with pytest.raises(OSError, match="Illegal seek"):
        take(tmp_path / "holder.json")


def test_a_holder_whose_directory_is_removed_notices_and_does_not_make_it_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with take(run / "holder.json") as hold:
        shutil.rmtree(run)
        for _ in range(200):
            if hold.lost:
                break
            time.sleep(BEAT_S / 3)
        assert hold.lost
        with pytest.raises(
            FencedError, match=r"run was removed while the run trained: what it held is gone from there"
        ):
            hold.check()
    assert not run.exists()


def test_a_holder_does_not_write_into_a_folder_that_has_taken_the_place_of_its_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with take(run / "holder.json") as hold:
        run.rename(tmp_path / "moved")
        run.mkdir()
        assert eventually(lambda: hold.lost)
        with pytest.raises(FencedError, match="run was replaced by another folder while the run trained"):
            hold.check()
    assert not list(run.iterdir())


def test_a_directory_that_is_away_for_a_while_is_not_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with take(run / "holder.json") as hold:
        run.rename(tmp_path / "away")
        time.sleep(2 * BEAT_S)
        hold.check()
        (tmp_path / "away").rename(run)
        assert not hold.lost
