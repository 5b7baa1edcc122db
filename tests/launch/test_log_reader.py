from pathlib import Path

import pytest

from launch import log_reader
from launch.log_reader import LogFile
from trainer.terminal import clean

NUMBERED = b"".join(b"%d: line %d %s\n" % (number % 8, number, b"x" * (number % 300)) for number in range(40_000))


def shown(*blocks: bytes, folder: Path, rank: int | None = None) -> list[str]:
    """What a log shows that grows block by block."""
    log = LogFile(folder / "log", rank)
    found = list(log.more())
    for block in blocks:
        with log.file.open("ab") as stream:
            stream.write(block)
        found += log.more()
    return [clean(line.decode(errors="replace")) for line in [*found, *log.more(is_last=True)]]


LINES = [
    (b"", []),
    (b"launch: hello\n", ["launch: hello"]),
    (b"0: a\n 3: b\n12: c\n", ["0: a", " 3: b", "12: c"]),  # srun
    (b"[0]: a\n[12]:b\n", ["[0]: a", "[12]:b"]),  # torchrun
    (b"0: \n\n", ["0: ", ""]),
    (b"0:   indented\n", ["0:   indented"]),
    (b"0: cut", ["0: cut"]),
    (b"0: a\r\n0: b\r\n", ["0: a", "0: b"]),
    (b"1: 10 %\r20 %\r30 %\nend\n", ["1: 10 %", "1: 20 %", "1: 30 %", "end"]),
    (b"1: 10 %\r1: 20 %\r\n", ["1: 10 %", "1: 20 %"]),
    (b"0: \x1b[31mred\x1b[0m \x07\xff\xfe\n", ["0: red \ufffd\ufffd\ufffd"]),
]


@pytest.mark.parametrize(("content", "expected"), LINES)
def test_each_line_keeps_its_label_and_loses_control_characters(
    tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    assert shown(content, folder=tmp_path) == expected


@pytest.mark.parametrize(("content", "expected"), LINES)
def test_lines_are_the_same_however_they_arrive(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    blocks = [content[place : place + 1] for place in range(len(content))]
    assert shown(*blocks, folder=tmp_path) == expected


@pytest.mark.parametrize(
    ("rank", "expected"),
    [(0, ["a", "20 %", "cut"]), (1, ["10 %", "30 %"]), (12, ["d"]), (3, [])],
)
def test_the_lines_of_a_rank_lose_their_labels(tmp_path: Path, rank: int, expected: list[str]) -> None:
    content = b"launch: 0: x\n0: a\n 1: 10 %\r0: 20 %\r1: 30 %\n[12]:d\n0: cut"
    assert shown(content, folder=tmp_path, rank=rank) == expected


def test_a_bar_is_followed_before_its_line_ends(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.file.write_bytes(b"1: 10 %\r20 %\r3")
    assert list(log.more()) == [b"1: 10 %", b"1: 20 %"]
    with log.file.open("ab") as stream:
        stream.write(b"0 %\n")
    assert list(log.more()) == [b"1: 30 %"]


def test_junk_without_an_end_is_read_in_parts(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.file.write_bytes(b"first\n" + b"\0" * (2 * log_reader._LONGEST + 1))
    assert [len(line) for line in log.more()] == [5, log_reader._LONGEST, log_reader._LONGEST]
    assert [len(line) for line in log.more(is_last=True)] == [1]


@pytest.mark.parametrize(("rank", "count"), [(None, 1), (None, 9_000), (None, 50_000), (3, 7), (3, 4_000), (9, 5)])
def test_the_last_lines_are_the_same_wherever_reading_begins(tmp_path: Path, rank: int | None, count: int) -> None:
    """Across windows that grow."""
    file = tmp_path / "log"
    file.write_bytes(NUMBERED)
    assert len(NUMBERED) > 4 * log_reader._WINDOW
    every = list(LogFile(file, rank).more())
    log = LogFile(file, rank)
    skipped = log.seek(count)
    assert list(log.more())[skipped:] == every[-count:]


def test_few_last_lines_take_no_reading_of_the_rest(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.file.write_bytes(NUMBERED)
    log.seek(10)
    assert log.offset > len(NUMBERED) - log_reader._WINDOW


def test_an_attempt_ends_where_another_begins(tmp_path: Path) -> None:
    file = tmp_path / "log"
    line = b"launch: attempt %d of job 123 on n[1-2], from step 40\n"
    file.write_bytes(line % 3 + b"0: launch: attempt 4 of job 123\nlaunch: attempt x of\n" + line % 5 + NUMBERED)
    log = LogFile(file, attempt=3)
    assert log.seek(2) == 1
    assert list(log.more())[1:] == [b"0: launch: attempt 4 of job 123", b"launch: attempt x of"]
    assert log.is_over
    assert list(log.more(is_last=True)) == []
    with pytest.raises(LookupError, match="holds 3, 5"):
        LogFile(file, attempt=4).seek(0)
