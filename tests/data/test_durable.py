import os
from pathlib import Path

import pytest

from data.durable import replace, whole


def test_a_file_is_replaced_and_a_failure_has_its_name(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        replace(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with pytest.raises(OSError, match=rf"No such file or directory: '{tmp_path}/absent/x'"):
        replace(tmp_path / "absent/x", b"")


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    replace(tmp_path / "x", b"old")
    for error in (KeyboardInterrupt, OSError(28, "No space left on device")):
        with pytest.raises((KeyboardInterrupt, OSError)) as raised, whole(tmp_path / "x") as stream:
            stream.write(b"half")
            raise error
    assert str(raised.value) == f"[Errno 28] No space left on device: '{tmp_path}/x'"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_an_error_that_names_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/absent/y'"), whole(tmp_path / "x"):
        replace(tmp_path / "absent/y", b"")


def test_writers_of_one_shared_file_do_not_meet(tmp_path: Path) -> None:
    with whole(tmp_path / "x", shared=True) as stream:
        stream.write(b"ours")
        replace(tmp_path / "x", b"theirs")
    assert (tmp_path / "x").read_bytes() == b"ours"


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_killed_writer_has_left_does_not_stay(tmp_path: Path, shared: bool) -> None:
    old, new, other = tmp_path / ".x[1].7.tmp", tmp_path / ".x[1].8.tmp", tmp_path / ".x1.7.tmp"
    for file in (old, new, other, tmp_path / ".x[1].tmp", tmp_path / f".x[1].{os.getpid()}.tmp"):
        file.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    with whole(tmp_path / "x[1]", shared=shared) as stream:
        stream.write(b"new")
    assert (tmp_path / "x[1]").read_bytes() == b"new"
    assert old.exists() != shared
    assert new.exists() and other.exists()  # a process writes it now; it is another file's
    assert (tmp_path / ".x[1].tmp").exists() == shared
    assert (tmp_path / f".x[1].{os.getpid()}.tmp").exists() != shared
