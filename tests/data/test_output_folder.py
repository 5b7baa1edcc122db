import os
import shutil
from pathlib import Path

import pytest

from data import output_folder
from data.output_folder import RefusedError, refuse, refuse_strangers, room_problems

HUGE = 1 << 60


def test_ten_problems_are_told_and_the_rest_counted() -> None:
    refuse([])
    with pytest.raises(RefusedError) as caught:
        refuse([f"--flag-{number}" for number in range(12)])
    assert str(caught.value).splitlines() == [*(f"--flag-{number}" for number in range(10)), "and 2 more"]


def test_strangers_are_named_and_hidden_files_are_nobody_s_business(tmp_path: Path) -> None:
    for name in ("ours", ".hidden", *(f"stranger-{number:02d}" for number in range(11))):
        (tmp_path / name).touch()
    with pytest.raises(RefusedError, match=r"holds stranger-00, .*stranger-09 and 1 more, no part of this data set"):
        refuse_strangers(tmp_path, ["ours"])
    refuse_strangers(tmp_path, {path.name for path in tmp_path.iterdir()})
    refuse_strangers(tmp_path / "absent", [])


def test_a_small_data_set_has_room(tmp_path: Path) -> None:
    assert room_problems(tmp_path / "not/there/yet", 1000, 10) == []


def test_a_disk_that_is_too_small_is_told_before_it_is_full(tmp_path: Path) -> None:
    (problem,) = room_problems(tmp_path / "new", HUGE, 10)
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert problem.startswith(f"{tmp_path}/new: needs about 1,152,921,504.607 GB, and its disk has {free:,.0f}"[:-2])
    assert problem.endswith(" GB free; make room, or name a folder on another disk")


def test_files_have_to_find_room_as_well_as_bytes(tmp_path: Path) -> None:
    (problem,) = room_problems(tmp_path, 0, HUGE)
    assert problem.startswith(f"{tmp_path}: needs 1,152,921,504,606,846,976 files, and its file system has room for ")


def test_a_link_to_nothing_is_named_wherever_it_lies_on_the_way(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    expected = f"{link} is a link to {tmp_path}/gone, which does not exist; name another folder, or delete it"
    assert output_folder.dangling(link) == output_folder.dangling(link / "a" / "b") == [f"--output: {expected}"]
    with pytest.raises(RefusedError, match=f"^{expected}"):
        output_folder.entries(link)
    (tmp_path / "gone").mkdir()
    assert output_folder.dangling(link / "a") == output_folder.dangling(tmp_path / "none") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to other groups, as root alone may")
@pytest.mark.parametrize(
    ("mode", "group", "others"),
    [
        (0o755, 4711, ""),
        (0o775, 4711, "its group"),
        (0o2775, 4711, "its group"),
        (0o775, 0, ""),  # root's own group
        (0o777, 0, "everybody"),
    ],
)
def test_a_folder_that_others_can_write_brings_a_warning(tmp_path: Path, mode: int, group: int, others: str) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    os.chown(folder, 0, group)
    folder.chmod(mode)
    advice = f"to keep them from replacing the run's files: chmod go-w '{folder}'"
    expected = f"warning: {folder} can be written by {others}; {advice}"
    assert output_folder.exposed(folder) == ([expected] if others else [])
