from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.doctor.advice import Advice, advise
from trainer.doctor.figures import Change, Figures, Pace, Passes, Reduction

IDLE = replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.005, 0.003))  # on a GPU that never waits


def flags(advice: list[Advice]) -> list[str]:
    return [one.change.flags for one in advice]


def test_a_gpu_that_waits_gets_as_many_threads_as_keep_up_with_it() -> None:
    found = advise(GPU)
    assert flags(found)[0] == "--threads 4"
    assert found[0].gain == pytest.approx(10.01 / 5.01)
    assert found[0].images_per_s == pytest.approx(1000 / 5.01)


def test_where_all_cores_decode_already_more_of_them_are_advised_and_not_tried_here() -> None:
    (advice,) = advise(replace(GPU, place=replace(GPU.place, own_cores=2, cores=2, left=2)))
    # both take 21 ms of CPU time an image, the step 5 ms
    assert "--cpus-per-process 5" in advice.change.flags
    assert not advice.on_the_spot


def test_what_can_be_tried_here_comes_before_what_cannot_and_then_the_greater_gain() -> None:
    changes = (
        Change(kind="pack", flags="pack", load=Pace(0.0001, 0.0002)),
        Change(kind="loader", flags="--loader dali", site={"loader": "dali"}, load=Pace(0.0015, 0.003)),
        Change(kind="channels_last", flags="--channels-last", step=Pace(0.001, 0.002)),
    )
    job = replace(CPU.job, save_steps=None, images=10**6)
    *here, elsewhere = flags(advise(replace(CPU, changes=changes, job=job)))
    assert here == ["--channels-last", "pack", "--loader dali"]
    assert elsewhere.startswith("a machine with 4 cores")


@pytest.mark.parametrize(("seconds", "given"), [(0.00491, False), (0.00488, True)])
def test_a_gain_of_less_than_two_percent_is_not_worth_a_word(seconds: float, given: bool) -> None:
    change = Change(kind="channels_last", flags="--channels-last", step=Pace(seconds, 0.001))
    assert bool(advise(replace(IDLE, changes=(change,), saving=None))) is given


def test_of_several_loaders_the_best_is_advised() -> None:
    changes = tuple(
        Change(kind="loader", flags=name, load=Pace(seconds, 0.002)) for name, seconds in (("a", 0.007), ("b", 0.006))
    )
    alone = replace(GPU, place=replace(GPU.place, threads=8, own_cores=8), changes=changes)
    assert [name for name in flags(advise(alone)) if name in "ab"] == ["b"]


def test_the_smallest_pass_that_is_nearly_as_quick_as_any_is_advised() -> None:
    # 5 ms an image in passes of 2: 1 ms of its own, and 8 ms a pass
    small = replace(
        IDLE,
        job=replace(IDLE.job, micro_batch=2),
        passes=Passes(0.001, 0.008, (2, 8)),
        larger=(4, 10, 20, 25, 50, 100),
    )
    found = advise(small)
    assert flags(found) == ["--micro-batch 25"]  # 100 is too far from 8 to say anything, and 25 the largest that is not
    assert found[0].gain == pytest.approx(0.005 / 0.00132, rel=0.02)
    assert found[0].change.recipe == {"micro_batch": 25}


def test_gradients_that_hold_up_a_step_can_be_sent_as_bf16() -> None:
    sums = Reduction(seconds=0.2, half_s=0.1, bytes=1, exposed_s=0.2)
    found = advise(replace(IDLE, reduction=sums))
    assert flags(found) == ["--gradient-compression bf16"]
    # 100 images take 0.5 s, of which 0.1 s goes, and a checkpoint each 10 steps 0.01 s
    assert found[0].gain == pytest.approx(5.01 / 4.01)


@pytest.mark.parametrize(
    ("save_steps", "minutes", "flag"),
    # a checkpoint takes 0.43 s, and so 43 s from one to the next: 78.2 steps of 0.55 s
    [(10, 15, "--save-steps 79"), (None, 0.1, "--save-minutes 1")],
)
def test_checkpoints_are_to_take_a_hundredth_of_training(save_steps: int | None, minutes: float, flag: str) -> None:
    job = replace(CPU.job, save_steps=save_steps, save_minutes=minutes, images=10**6)
    assert flag in flags(advise(replace(CPU, job=job)))


def test_nothing_is_advised_where_the_step_bounds_the_run() -> None:
    assert advise(IDLE) == []


def figures_of(passes: Passes) -> Figures:
    return replace(IDLE, passes=passes)


def test_a_pass_without_a_larger_one_stays() -> None:
    assert advise(figures_of(Passes(0.001, 0.2, (50, 100)))) == []
