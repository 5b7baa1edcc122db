from pathlib import Path

import pytest

from trainer.exits import record


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "75"), ({"LOCAL_RANK": "0"}, "75"), ({"LOCAL_RANK": "1"}, ""), ({"SLURM_LOCALID": "1"}, "")],
)
def test_the_first_process_on_a_machine_leaves_its_exit_code(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    file = tmp_path / "code"
    file.touch()
    record(75, {"PROVENET_EXIT_CODE": str(file), **environment})
    assert file.read_text() == expected


def test_a_later_code_replaces_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "code"
    file.write_text("75")
    record(0, {"PROVENET_EXIT_CODE": str(file)})
    assert file.read_text() == "0"


def test_a_process_that_nobody_waits_for_leaves_nothing(tmp_path: Path) -> None:
    record(75, {})
    record(75, {"PROVENET_EXIT_CODE": str(tmp_path / "code of another machine")})
    assert list(tmp_path.iterdir()) == []
