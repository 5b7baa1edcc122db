import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.limits import full_disk
from trainer.telemetry import appender
from trainer.telemetry.appender import Appender

ENTRIES = [f"{number:02}{'x' * 97}\n".encode() for number in range(20)]


def test_what_a_full_disk_does_not_take_is_written_in_order_once_it_does(tmp_path: Path) -> None:
    said, file = list[str](), tmp_path / "file"
    appended = Appender(file, said.append)
    with full_disk(250):
        for entry in ENTRIES[:5]:
            appended.add(entry)
        assert file.read_bytes() == b"".join(ENTRIES[:3])[:250]  # with a torn entry at its end
        error = appended.flush()
        assert error
        assert (error.errno, error.filename) == (errno.EFBIG, str(file))
    for entry in ENTRIES[5:]:
        appended.add(entry)
    assert appended.flush() is None
    appended.close()
    assert file.read_bytes() == b"".join(ENTRIES)
    assert said == [
        f"{file} cannot be written: File too large; it is held in memory and written later",
        f"{file} can be written again: 4 entries that were held are in it",
    ]


def test_what_could_not_be_written_to_the_end_is_said(tmp_path: Path) -> None:
    said, file = list[str](), tmp_path / "file"
    with full_disk(250):
        appended = Appender(file, said.append)
        for entry in ENTRIES[:5]:
            appended.add(entry)
        appended.close()
    assert said[1:] == [f"{file} lacks its last 3 entries: File too large"]


def test_beyond_a_size_the_oldest_entries_are_kept_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "HELD_BYTES", 350)
    said, file = list[str](), tmp_path / "file"
    appended = Appender(file, said.append)
    with full_disk(0):
        for entry in ENTRIES[:10]:
            appended.add(entry)
    assert appended.flush() is None
    appended.add(ENTRIES[10])
    appended.close()
    assert file.read_bytes() == b"".join([*ENTRIES[:3], ENTRIES[10]])
    assert said[1].endswith("3 entries that were held are in it; 7 more did not fit into memory and are missing")


def test_a_file_that_was_removed_or_cut_short_goes_on_on_a_line_of_its_own_and_that_is_said(tmp_path: Path) -> None:
    said, file = list[str](), tmp_path / "file"
    appended = Appender(file, said.append)
    appended.add(ENTRIES[0])
    os.truncate(file, 30)
    appended.add(ENTRIES[1])
    assert file.read_bytes() == ENTRIES[0][:30] + b"\n" + ENTRIES[1]
    file.unlink()
    appended.add(ENTRIES[2])
    appended.close()
    assert file.read_bytes() == ENTRIES[2]
    assert said == [f"{file} was removed or cut short: {size} bytes that were written are gone" for size in (70, 131)]


def test_a_file_that_another_has_replaced_is_left_alone(tmp_path: Path) -> None:
    """As the next holder of the run directory does at its start."""
    said, file = list[str](), tmp_path / "file"
    appended = Appender(file, said.append)
    appended.add(ENTRIES[0])
    (tmp_path / "other").write_bytes(b"theirs\n")
    (tmp_path / "other").replace(file)
    appended.add(ENTRIES[1])
    appended.close()
    assert file.read_bytes() == b"theirs\n"
    assert "another file has taken its place" in said[0]


@pytest.mark.parametrize("name", ["file", "by_images/file"])
def test_a_run_directory_that_was_removed_is_not_made_again(name: str, tmp_path: Path) -> None:
    said, run = list[str](), tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    appended = Appender(run / name, said.append)
    appended.add(ENTRIES[0])
    shutil.rmtree(run)
    appended.add(ENTRIES[1])
    appended.close()
    assert not run.exists()
    assert "No such file or directory" in said[0]
