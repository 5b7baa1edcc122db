import pytest

from tests.benchmarks.pairs import HEAD, Goal, cells, compare, in_turns, middle_half


def test_every_other_round_goes_backwards() -> None:
    order: list[str] = []

    def contestant(name: str, value: float) -> float:
        order.append(name)
        return value

    said = in_turns([lambda: contestant("a", 1.0), lambda: contestant("b", 2.0), lambda: contestant("c", 3.0)], 3)
    assert "".join(order) == "abc" + "cba" + "abc"
    assert said == [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]


def test_the_ratio_is_the_median_of_ratios_within_turns() -> None:
    # the machine slowed down fourfold after the first turn, which a ratio of medians would take for a difference
    pair = compare("rate", "images/s", [90.0, 24.0, 24.0], [100.0, 25.0, 30.0])
    assert pair.ratio == 0.9
    assert pair.spread == (0.8, 0.96)
    assert (pair.ours, pair.theirs) == (24.0, 30.0)


@pytest.mark.parametrize(
    ("values", "half"),
    [([7.0], (7.0, 7.0)), ([1.0, 2.0, 3.0, 4.0], (2.0, 3.0)), ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], (3.0, 6.0))],
)
def test_the_middle_half_leaves_out_a_quarter_at_either_end(values: list[float], half: tuple[float, float]) -> None:
    assert middle_half(values) == half


@pytest.mark.parametrize(
    ("goal", "ratio", "verdict"),
    [
        (Goal("at least", 0.98), 0.98, "at least 0.98: met"),
        (Goal("at least", 0.98), 0.979, "at least 0.98: missed"),
        (Goal("at most", 1.05), 1.05, "at most 1.05: met"),
        (Goal("at most", 1.05), 1.051, "at most 1.05: missed"),
        (None, 1.0, ""),
    ],
)
def test_a_row_says_whether_its_goal_is_met(goal: Goal | None, ratio: float, verdict: str) -> None:
    row = cells(compare("rate", "images/s", [1000 * ratio], [1000.0], goal))
    assert len(row) == len(HEAD)
    assert row[-1] == verdict


def test_a_row_shows_three_figures_that_count() -> None:
    row = cells(compare("rate", "images/s", [1234.56], [0.123456]))
    assert row[1:4] == ("1,235", "0.123", "images/s")
