from pathlib import Path

import pytest

from launch import tail
from launch.tail import backwards


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a", [(0, b"a")]),
        (b"a\n", [(0, b"a")]),
        (b"a\nbc\n", [(2, b"bc"), (0, b"a")]),
        (b"a\nbc\ncut", [(5, b"cut"), (2, b"bc"), (0, b"a")]),
        (b"\n\na\n\n", [(4, b""), (2, b"a"), (1, b""), (0, b"")]),
    ],
)
def test_lines_come_from_the_end_with_their_offsets(
    tmp_path: Path, content: bytes, expected: list[tuple[int, bytes]]
) -> None:
    file = tmp_path / "log"
    file.write_bytes(content)
    with file.open("rb") as stream:
        assert list(backwards(stream)) == expected


def test_lines_are_whole_across_blocks(tmp_path: Path) -> None:
    lines = [b"%d " % number + b"x" * (number % 300) for number in range(2000)]
    file = tmp_path / "log"
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert file.stat().st_size > 4 * 65_536
    with file.open("rb") as stream:
        found = list(backwards(stream))
    assert [line for _, line in found] == lines[::-1]
    content = file.read_bytes()
    assert all(content[offset : offset + len(line)] == line for offset, line in found)


def test_a_part_of_the_file_is_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"a\nbc\nd\ne\n")
    with file.open("rb") as stream:
        assert list(backwards(stream, 2, 7)) == [(5, b"d"), (2, b"bc")]


def test_what_has_no_line_feed_comes_in_parts(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"first\n" + b"x" * (2 * tail.LONGEST))
    with file.open("rb") as stream:
        found = [line for _, line in backwards(stream)]
    assert found[-1] == b"first"
    assert max(map(len, found)) < 2 * tail.LONGEST
    assert b"".join(found[-2::-1]) == b"x" * (2 * tail.LONGEST)
