import pytest

from trainer.engine.stragglers import Stragglers, own_s
from trainer.telemetry.phases import Lap
from trainer.telemetry.point import Slowest


def test_waiting_for_others_and_the_work_of_rank_0_alone_do_not_count() -> None:
    shares = {"data_wait": 0.1, "forward": 0.2, "backward": 0.2, "optimizer": 0.1, "all_reduce": 0.3, "other": 0.1}
    assert own_s(Lap(1.0, shares, None, ()), 2.0) == pytest.approx(1.2)  # pyright: ignore[reportArgumentType]
    assert own_s(Lap(0.0, {}, None, ()), 2.0) == 0


def test_the_slowest_of_all_is_compared_with_the_median() -> None:
    stragglers = Stragglers()
    found = [
        stragglers.compare(each)
        for each in (
            [0.0, 0.0, 0.0],  # before anything is measured
            [1.0, 1.2, 1.0],
            [1.0, 1.3, 1.0],
            [1.0, 2.0, 1.0],
            [2.0, 1.0, 1.0],  # another
            [2.0, 3.0, 2.5],
            [1.0, 1.5],  # of two the faster is the median
            [1.0],
        )
    ]
    assert found == [
        one and Slowest(slowest_rank=one[0], slowest_ratio=one[1], slow_points=one[2])
        for one in (None, (1, 1.2, 0), (1, 1.3, 1), (1, 2.0, 2), (0, 2.0, 1), (1, 1.2, 0), (1, 1.5, 1), None)
    ]
