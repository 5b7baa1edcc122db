from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.doctor.advice import Advice, advise
from trainer.doctor.bound import Change, Pace, Reduction

IDLE = replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.005, 0.003))  # on a GPU that never waits


def flags(advice: list[Advice]) -> list[str]:
    return [one.change.flags for one in advice]


def test_a_gpu_that_waits_gets_as_many_threads_as_keep_up_with_it() -> None:
    found = advise(GPU)
    assert flags(found)[0] == "--threads 4"
    assert found[0].gain == pytest.approx(10.01 / 5.01)
    assert found[0].images_per_s == pytest.approx(1000 / 5.01)


def test_threads_share_the_loaders_work_only_as_far_as_there_are_cores() -> None:
    narrow = replace(GPU, place=replace(GPU.place, own_cores=3))
    found = advise(narrow)
    assert flags(found)[0] == "--threads 3"
    # 20 and 1 ms of CPU time on 3 cores
    assert found[0].gain == pytest.approx(10.01 / 7.01)


def test_where_all_cores_decode_already_more_of_them_are_advised_and_not_tried_here() -> None:
    (advice,) = advise(replace(GPU, place=replace(GPU.place, own_cores=2)))
    # both take 21 ms of CPU time an image, the step 5 ms
    assert "--cpus-per-process 5" in advice.change.flags
    assert not advice.can_be_tried


def test_the_greater_gain_comes_first_and_another_machine_last() -> None:
    changes = (
        Change("loader", "--loader dali", site={"loader": "dali"}, seconds=0.0040),
        Change("precision", "--precision bf16", recipe={"precision": "bf16"}, seconds=0.0030),
    )
    site = replace(CPU.site, save_steps=None)
    *here, elsewhere = flags(advise(replace(CPU, changes=changes, site=site, images={"train": 10**6, "val": 1})))
    assert here == ["--precision bf16", "--loader dali"]
    assert elsewhere.startswith("a machine with 4 cores")


@pytest.mark.parametrize(("seconds", "given"), [(0.00491, False), (0.00488, True)])
def test_a_gain_of_less_than_two_percent_is_not_advised(seconds: float, given: bool) -> None:
    change = Change("precision", "--precision bf16", seconds=seconds)
    assert bool(advise(replace(IDLE, changes=(change,), saving=None))) is given


def test_of_several_loaders_the_best_is_advised() -> None:
    changes = tuple(Change("loader", name, seconds=seconds) for name, seconds in (("a", 0.007), ("b", 0.006)))
    alone = replace(GPU, place=replace(GPU.place, threads=8, own_cores=8), changes=changes)
    assert [name for name in flags(advise(alone)) if name in "ab"] == ["b"]


def test_gradients_that_delay_a_step_can_be_sent_as_bf16() -> None:
    sums = Reduction(seconds=0.2, exposed_s=0.2, bytes=1)
    found = advise(replace(IDLE, reduction=sums))
    assert flags(found) == ["--gradient-compression bf16"]
    # 100 images take 0.5 s, of which 0.1 s goes, and a checkpoint each 10 steps 0.01 s
    assert found[0].gain == pytest.approx(5.01 / 4.01)
    compressed = replace(IDLE.recipe, gradient_compression="bf16")
    assert advise(replace(IDLE, reduction=sums, recipe=compressed)) == []


@pytest.mark.parametrize(
    ("save_steps", "minutes", "flag"),
    # a checkpoint takes 0.43 s, and so 43 s from one to the next: 78.2 steps of 0.55 s
    [(10, 15, "--save-steps 79"), (None, 0.1, "--save-minutes 1")],
)
def test_checkpoints_are_to_take_a_hundredth_of_training(save_steps: int | None, minutes: float, flag: str) -> None:
    site = replace(CPU.site, save_steps=save_steps, save_minutes=minutes)
    found = advise(replace(CPU, site=site, images={"train": 10**6, "val": 1}))
    (saving,) = [one for one in found if one.change.kind == "saving"]
    assert saving.change.flags == flag
    assert not saving.can_be_tried
    assert saving.effect == "a killed run loses more"


def test_nothing_is_advised_where_the_step_bounds_the_run() -> None:
    assert advise(IDLE) == []


def test_a_recipes_own_settings_are_called_so() -> None:
    larger = Change("micro_batch", "--micro-batch 100", recipe={"micro_batch": 100}, seconds=0.001)
    (found,) = advise(replace(IDLE, changes=(larger,)))
    assert found.effect.startswith("part of the recipe: ")
    assert not advise(GPU)[0].effect.startswith("part of the recipe")
