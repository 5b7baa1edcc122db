import shutil
from pathlib import Path

from data.prepare.unpack import no_room

HUGE = 1 << 60


def test_a_small_data_set_has_room(tmp_path: Path) -> None:
    assert no_room(tmp_path / "not/there/yet", 1000, 10) == []


def test_a_disk_that_is_too_small_is_told_before_it_is_full(tmp_path: Path) -> None:
    (problem,) = no_room(tmp_path / "new", HUGE, 10)
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert problem.startswith(f"{tmp_path}/new: needs 1,152,921,504.6 GB, but its disk has {free:,.0f}"[:-2])
    assert problem.endswith(" GB left; make room, or name a folder on another disk")


def test_files_have_to_find_room_as_well_as_bytes(tmp_path: Path) -> None:
    (problem,) = no_room(tmp_path, 0, HUGE)
    assert problem.startswith(f"{tmp_path}: needs 1,152,921,504,606,846,976 files, but its file system has room for ")
