from pathlib import Path

import pytest

from trainer.doctor import clock


@pytest.mark.parametrize(
    ("before", "touched", "after", "skew_s"),
    [(10.0, 10.5, 11.0, 0.0), (10.0, 13.0, 11.0, 2.0), (10.0, 4.0, 11.0, -6.0), (10.0, 10.0, 10.0, 0.0)],
)
def test_a_time_within_its_span_is_no_skew(before: float, touched: float, after: float, skew_s: float) -> None:
    assert clock.skew(before, touched, after) == skew_s


@pytest.mark.parametrize(
    ("skew_s", "state", "says"),
    [
        (0.0, "good", "agrees"),
        (-0.9, "good", "agrees"),
        (3.0, "bad", "3.0 s behind"),
        (-90.0, "bad", "90.0 s ahead of"),
    ],
)
def test_a_skew_that_does_harm_is_told(skew_s: float, state: str, says: str) -> None:
    finding = clock.judged(skew_s)
    assert finding.state == state
    assert says in finding.says


def test_a_disk_of_this_machine_agrees_and_nothing_stays(tmp_path: Path) -> None:
    assert abs(clock.measured(tmp_path)) < clock.BEARABLE_S
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_there_is_a_note() -> None:
    (finding,) = clock.findings(Path("/proc/no/such"))
    assert finding.state == "note"
    assert finding.mend
    assert list(clock.findings(None)) == []
