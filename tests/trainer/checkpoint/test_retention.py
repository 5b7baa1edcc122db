from pathlib import Path

import pytest

from trainer.checkpoint.retention import Existing, Limits, best, evicted, space_problem, surplus

GB = 10**9


def stored(*rated: tuple[int, float | None]) -> list[Existing]:
    return [Existing(step=step, top1=top1, bytes=GB) for step, top1 in rated]


FIVE = stored((1, 50.0), (2, 70.0), (3, 70.0), (4, 60.0), (5, None))


@pytest.mark.parametrize(
    ("keep_checkpoints", "keep_best", "gone"),
    [
        (5, 0, []),
        (1, 0, [1, 2, 3, 4]),
        (2, 0, [1, 2, 3]),
        (2, 1, [1, 3]),  # of 2 and 3, equally good, the earlier
        (2, 2, [1]),
        (2, 3, [1]),  # 4 is among the best and the newest
        (1, 9, []),  # 5 was not evaluated, and is the newest
        (3, 1, [1]),
    ],
)
def test_the_newest_and_the_best_stay(keep_checkpoints: int, keep_best: int, gone: list[int]) -> None:
    assert surplus(FIVE, Limits(keep_checkpoints=keep_checkpoints, keep_best=keep_best), written=5) == gone


def test_damaged_ones_do_not_count_and_go() -> None:
    existing = [Existing(step=4, top1=99.0, bytes=GB, valid=False), *stored((1, 50.0), (2, 40.0), (5, 30.0))]
    assert surplus(existing, Limits(keep_checkpoints=2, keep_best=1), written=5) == [4]


def test_those_that_a_restart_passed_over_neither_count_nor_go() -> None:
    """The run went on from 1, as 8 could not be read: 8 must not drive out 2, which was just written."""
    existing = stored((1, 50.0), (2, 40.0), (8, 90.0))
    assert surplus(existing, Limits(keep_checkpoints=1, keep_best=0), written=2) == [1]


def test_the_best_come_in_order() -> None:
    assert best(FIVE, 3) == [2, 3, 4]


def new(size: int = GB, top1: float | None = None) -> Existing:
    return Existing(step=9, top1=top1, bytes=size)


@pytest.mark.parametrize(
    ("budget", "gone"),
    [
        (None, []),
        (6 * GB, []),
        (5 * GB, [1]),
        (4 * GB, [1, 4]),  # 2 and 3 are the best
        (3 * GB, [1, 4, 3]),  # then the lower of them; 5 is the newest valid one
        (2 * GB, [1, 4, 3, 2]),
    ],
)
def test_for_the_budget_the_oldest_go_before_the_best_and_never_the_newest(budget: int | None, gone: list[int]) -> None:
    limits = Limits(keep_checkpoints=3, keep_best=2, budget=budget)
    assert evicted(FIVE, new(), limits, newest_valid=5) == gone


def test_a_new_best_lets_the_old_one_go() -> None:
    limits = Limits(keep_checkpoints=1, keep_best=1, budget=2 * GB)
    assert evicted(stored((1, 60.0), (2, 50.0)), new(top1=70.0), limits, newest_valid=2) == [1]


def test_for_the_budget_damaged_ones_go_first() -> None:
    damaged = Existing(step=8, bytes=GB, valid=False)
    limits = Limits(keep_checkpoints=3, keep_best=0, budget=3 * GB)
    assert evicted([damaged, *stored((1, None), (2, None))], new(), limits, newest_valid=2) == [8]


def test_a_budget_for_less_than_two_is_refused_with_what_it_takes() -> None:
    limits = Limits(keep_checkpoints=3, keep_best=0, budget=int(1.5 * GB))
    with pytest.raises(
        ValueError, match=r"--checkpoints-gb: 1\.5 is too small .* set it to 2 or more, .*--keep-checkpoints"
    ):
        evicted(stored((1, None), (2, None)), new(), limits, newest_valid=2)


def test_what_is_advised_is_enough() -> None:
    limits = Limits(keep_checkpoints=3, keep_best=0, budget=1)
    with pytest.raises(ValueError, match=r"set it to 2\.01 or more"):
        evicted(stored((1, None)), new(GB + 1_000_000), limits, newest_valid=1)


def test_too_little_space_names_folder_needed_and_free() -> None:
    assert space_problem(Path("/runs/a"), 5, 5) is None
    problem = space_problem(Path("/runs/a"), 2 * GB, GB // 2)
    assert problem is not None
    assert problem.startswith("/runs/a: the checkpoint needs 2 GB, and 0.5 GB are free there")
