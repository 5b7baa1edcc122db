from pathlib import Path

import pytest

from data.output_folder import RefusedError, refuse, refuse_strangers


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
