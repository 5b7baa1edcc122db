from pathlib import Path

import pytest

from trainer.checkpoint import grace
from trainer.checkpoint.grace import grace_s, measured_write_s, warning


@pytest.mark.parametrize(
    ("write_s", "count", "left_s", "expected"),
    [
        (57.5, 1_000_000, 120, None),  # two writes and the rest: 120 s
        (57.6, 1_234_567_890, 120, ("1,235 MB takes 57.6 s", "leaves 120 s", "--grace-s to 121 or more")),
        (0.1, 1_000_000, 5, ("1 MB takes 0.1 s", "leaves 5 s", "--grace-s to 6 or more")),
        (0.0, 1, 5, None),
        (300.0, 10**12, 120, ("1,000,000 MB takes 300.0 s", "leaves 120 s", "--grace-s to 606 or more")),
    ],
)
def test_two_checkpoints_have_to_fit_into_the_grace(
    write_s: float, count: int, left_s: int, expected: tuple[str, ...] | None
) -> None:
    found = warning(write_s, count, left_s)
    assert (found is None) == (expected is None)
    assert all(words in str(found) for words in expected or ())


def test_the_grace_that_is_advised_is_enough() -> None:
    for write_s in (0.3, 57.6, 300.0):
        advised = int(str(warning(write_s, 1, 0)).split("--grace-s to ")[1].split()[0])
        assert warning(write_s, 1, advised) is None


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("120", 120), ("", None), ("soon", None), ("-5", None)])
def test_who_started_us_says_what_a_stop_leaves(text: str | None, expected: int | None) -> None:
    assert grace_s({} if text is None else {"PROVENET_GRACE_S": text}) == expected


@pytest.mark.parametrize("count", [0, 1, 3 << 20, (3 << 20) + 5])
def test_a_trial_leaves_nothing_behind(tmp_path: Path, count: int) -> None:
    assert 0 <= measured_write_s(tmp_path, count) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_large_checkpoint_is_tried_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A millionth is written, and its time counts a millionfold."""
    monkeypatch.setattr(grace, "_PROBE_BYTES", 1 << 20)
    part, whole = measured_write_s(tmp_path, 1 << 20), measured_write_s(tmp_path, 1 << 40)
    assert whole > 10 * part  # for one flush may be far slower than another


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        measured_write_s(tmp_path / "nowhere", 1)
