import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch import attempts
from launch.attempts import Attempt, End, Then, meaning, newest_step, read, stuck, verdict
from launch.submission import DamagedRecordError
from tests.commands import HANGS_S
from tests.launch import stand_ins
from trainer.exits import KILLED


def attempt(step: int, code: int | None = 70, job: str = "12") -> Attempt:
    """One that began at this step; without a code nobody lived to tell how it ended."""
    end = None if code is None else End(code=code, step=step, then="again", why="", time=0)
    return Attempt(number=1, job=job, restart=0, nodes="n1", step=step, time=0, end=end)


def test_attempts_are_read_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "attempts.jsonl"
    assert read(file) == []
    first = attempts.begin(file, job="12_3", restart=0, nodes="n[1-2]", step=0)
    end = End(code=75, step=40, then="again", why='it\'s "stopped"\nin good order', time=1.5)
    attempts.end(file, first, end)
    second = attempts.begin(file, job="13", restart=1, nodes="n1", step=40)
    assert [one.number for one in (first, second)] == [1, 2]
    found = read(file)
    assert (found[0].end, found[0].nodes, found[0].job) == (end, "n[1-2]", "12_3")
    assert found[1] == second
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "torn",
    [
        '{"event": "begin", "number": 2, "jo', '{"event": "end", "number": 9, "code": 0}\n', "null\n", "[1]\n", "{}\n",
        '{"event": "begin", "number": 3}\n', "\xff\n",
    ],
)  # fmt: skip
def test_a_line_that_a_lost_node_cut_short_hides_no_other(tmp_path: Path, torn: str) -> None:
    file = tmp_path / "attempts.jsonl"
    first = attempts.begin(file, job="12", restart=0, nodes="n1", step=0)
    with file.open("a", encoding="latin-1") as stream:
        stream.write(torn)
    second = attempts.begin(file, job="12", restart=1, nodes="n1", step=0)
    assert [one.number for one in read(file)] == [first.number, second.number] == [1, 2]


def test_what_two_processes_write_at_once_is_all_there(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from launch import attempts; file = Path(sys.argv[1]); input()\n"
        "for step in range(50): attempts.begin(file, job=sys.argv[2], restart=0, nodes='n' * 3000, step=step)"
    )
    file = tmp_path / "attempts.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(file), job], stdin=subprocess.PIPE) for job in ("12", "13")
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write(b"\n")
        writer.stdin.close()
    assert [writer.wait(timeout=HANGS_S) for writer in writers] == [0, 0]
    lines = list(filter(None, file.read_text().splitlines()))
    written = [(one["job"], one["step"]) for one in map(json.loads, lines)]
    assert sorted(written) == [(job, step) for job in ("12", "13") for step in range(50)]


@pytest.mark.parametrize(
    ("code", "cancelled", "then", "why"),
    [
        (0, False, "done", "finished"),
        (0, True, "done", "finished"),
        (1, False, "stopped", "it failed, and would fail again (exit code 1): the log says why"),
        (2, False, "stopped", "it cannot start (exit code 2): the log says what to change"),
        (70, False, "again", "aborted; goes on from step 1,040"),
        (75, False, "again", "stopped cleanly; goes on from step 1,040"),
        (75, True, "cancelled", "cancelled at step 1,040"),
        (2, True, "cancelled", "cancelled at step 1,040"),
        (137, False, "again", "killed by signal 9; goes on from step 1,040"),
        (3, False, "again", "exit code 3; goes on from step 1,040"),
    ],
)
def test_the_code_decides_what_follows(code: int, cancelled: bool, then: Then, why: str) -> None:
    assert verdict(code, [attempt(1000)], 1040, 3, cancelled=cancelled) == (then, why)


def test_what_the_trainer_has_said_is_the_reason() -> None:
    said = "failed: runs/a: No space left on device"
    history = [attempt(1040, 70)] * 2 + [attempt(1040)]
    for code, begin in ((1, "it failed"), (2, "it cannot start"), (70, "3 attempts in a row")):
        then, why = verdict(code, history, 1040, 3, cancelled=False, said=said)
        assert then == "stopped"
        assert why.startswith(begin)
        assert why.endswith(said)
    again = verdict(70, [attempt(1000)], 1040, 3, cancelled=False, said=said)
    assert again == ("again", f"aborted ({said}); goes on from step 1,040")
    killed = verdict(75, [attempt(1000)], 1040, 3, cancelled=False, said=KILLED)
    assert killed == ("again", "killed before it stopped cleanly; goes on from step 1,040")


@pytest.mark.parametrize(
    ("history", "step", "ends"),
    [
        ([attempt(0), attempt(0)], 0, None),  # the third may still bring it further
        ([attempt(0), attempt(0), attempt(0)], 0, "aborted, aborted, aborted"),
        ([attempt(0), attempt(0), attempt(0)], 40, None),
        ([attempt(0), attempt(40), attempt(40), attempt(40)], 40, "aborted, aborted, aborted"),
        ([attempt(0), attempt(40), attempt(40)], 40, None),
        ([attempt(40, 137), attempt(40, None), attempt(40, 75)], 40, "killed by signal 9, lost, stopped cleanly"),
        ([attempt(40, None)] * 3, 40, "lost, lost, lost"),
        ([attempt(40, job="11"), attempt(40, job="11"), attempt(40)], 40, None),  # submitted again since
        ([attempt(80), attempt(80), attempt(80)], 40, "aborted, aborted, aborted"),  # a checkpoint was removed
        ([], 40, None),
    ],
)
def test_attempts_in_a_row_without_a_newer_checkpoint_are_enough(
    history: list[Attempt], step: int, ends: str | None
) -> None:
    found = stuck(history, step, 3)
    if ends is None:
        assert found is None
    else:
        assert found and found.startswith(f"3 attempts in a row began at step {step} and none wrote a newer")
        assert f"({ends}); see the log, then provenet resume" in found


def test_the_last_of_too_many_attempts_says_how_it_ended_itself() -> None:
    history = [attempt(40, 137), attempt(40, None), attempt(40, None)]  # its own end is written after the verdict
    then, why = verdict(70, history, 40, 3, cancelled=False)
    assert then == "stopped"
    assert "(killed by signal 9, lost, aborted)" in why


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "finished"),
        (75, "stopped cleanly"),
        (70, "aborted"),
        (3, "exit code 3"),
        (143, "killed by signal 15"),
    ],
)
def test_an_exit_code_has_words(code: int, words: str) -> None:
    assert meaning(code) == words


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    assert newest_step(tmp_path) == 0
    for step in (20, 40):
        stand_ins.checkpoint(tmp_path, step)
    assert newest_step(tmp_path) == 40
    (stand_ins.checkpoint(tmp_path, 60) / "state.pt").write_bytes(b"cut")
    (tmp_path / "step-0000000080.tmp").mkdir()
    assert newest_step(tmp_path) == 40


def test_a_field_that_is_not_known_is_passed_over_and_a_newer_file_refused(tmp_path: Path) -> None:
    file = tmp_path / "attempts.jsonl"
    begun = attempts.begin(file, job="1", restart=0, nodes="n1", step=0)
    begin = json.loads(file.read_text())
    file.write_text(json.dumps({**begin, "colour": "red"}) + "\n")
    assert read(file) == [begun]
    file.write_text(json.dumps({**begin, "schema": 9}) + "\n")
    with pytest.raises(DamagedRecordError, match=r"attempts\.jsonl: schema 9, this version reads up to 1"):
        read(file)
