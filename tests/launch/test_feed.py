import pytest

from launch.feed import Feed, Line
from launch.tail import LONGEST


def lines(*blocks: bytes) -> list[tuple[int | None, str]]:
    feed = Feed()
    found: list[Line] = [line for block in blocks for line in feed.take(block)]
    return [(line.rank, line.text) for line in [*found, *feed.end()]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"launch: hello\n", [(None, "launch: hello")]),
        (b"0: a\n 3: b\n12: c\n", [(0, "a"), (3, "b"), (12, "c")]),  # srun
        (b"[0]: a\n[12]:b\n", [(0, "a"), (12, "b")]),  # torchrun
        (b"0: \n\n", [(0, ""), (None, "")]),
        (b"0:   indented\n", [(0, "  indented")]),
        (b"0: cut", [(0, "cut")]),
        (b"0: a\r\n0: b\r\n", [(0, "a"), (0, "b")]),
        (b"1: 10 %\r20 %\r30 %\nend\n", [(1, "10 %"), (1, "20 %"), (1, "30 %"), (None, "end")]),
        (b"1: 10 %\r1: 20 %\r\n", [(1, "10 %"), (1, "20 %")]),
        (b"0: \x1b[31mred\x1b[0m \x07\xff\xfe\n", [(0, "red \ufffd\ufffd\ufffd")]),
    ],
)
def test_each_line_has_its_rank_and_no_control_characters(
    content: bytes, expected: list[tuple[int | None, str]]
) -> None:
    assert lines(content) == expected
    assert lines(*(content[place : place + 1] for place in range(len(content)))) == expected


def test_a_line_shows_its_label_as_it_stood() -> None:
    (line,) = Feed().take(b"  3: text\n")
    assert line == Line(3, b"  3: ", b"text")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"launch: attempt 3 of job 123 on n[1-2], from step 40\n", 3),
        (b"launch: attempt 3: finished\n", None),
        (b"0: launch: attempt 3 of job 123\n", None),
        (b"launch: attempt x of\n", None),
    ],
)
def test_an_attempt_begins_with_a_line_of_the_job_s_own(content: bytes, expected: int | None) -> None:
    (line,) = Feed().take(content)
    assert line.begins == expected


def test_junk_without_an_end_does_not_pile_up() -> None:
    feed = Feed()
    (line,) = feed.take(b"\0" * LONGEST)
    assert line.text == "\ufffd" * LONGEST
    assert list(feed.end()) == []
