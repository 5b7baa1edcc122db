from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.doctor import words
from trainer.doctor.advice import advise
from trainer.doctor.figures import Figures, Pace, Passes, Reduction

assert CPU.saving
IDLE = replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.005, 0.003))


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (GPU, "loader-bound: 50% of the step is waiting for images"),
        (CPU, "CPU-bound: decoding and training share 2 cores; 45% of the step is what decoding takes from it"),
        (IDLE, "bound by the step itself: training runs at 100% of the rate of the step alone"),
        (
            replace(IDLE, passes=Passes(0.002, 0.15, (50, 100))),
            "bound by small passes: 60% of the step is what its 2 passes take whatever the number of their images, "
            "which is 50",
        ),
        (
            replace(IDLE, reduction=Reduction(seconds=0.2, half_s=0.1, bytes=1, exposed_s=0.2)),
            "bound by the sum of the gradients over 1 processes: 40% of the step waits for it",
        ),
        (
            replace(CPU, together=CPU.step, saving=replace(CPU.saving, cost_s=3.0)),
            "checkpoint-bound: 47% of the time goes to checkpoints, one each 10 steps",
        ),
    ],
)
def test_the_headline_says_what_bounds_the_run_and_by_how_much(figures: Figures, said: str) -> None:
    assert words.headline(figures) == said


def test_an_epoch_and_the_whole_run_are_told() -> None:
    assert words.whole(CPU) == (
        "end to end 158.0 images/s: an epoch of 10,000 images takes 63.3 seconds (steps 86.9%, evaluation 6.3%, "
        "checkpoints 6.8%), all 90 take 95.0 minutes"
    )


def test_advice_is_a_flag_its_gain_its_reason_and_its_price() -> None:
    first, price = words.advised(GPU, advise(GPU)[0])
    assert first == "  --threads 4: 2.00 times, 199.6 images/s; 2 cores more to decode"
    assert "last bits" in price


def test_a_recipes_own_settings_are_called_so() -> None:
    small = replace(
        IDLE, job=replace(IDLE.job, micro_batch=2), passes=Passes(0.001, 0.008, (2, 8)), larger=(4, 10, 20, 25)
    )
    first, price = words.advised(small, advise(small)[0])
    assert "each pass takes 8.00 ms whatever the number of its images" in first
    assert price.strip().startswith("part of the recipe: BatchNorm")


@pytest.mark.parametrize(("count", "said"), [(1, "1 core"), (2, "2 cores"), (1000, "1,000 cores")])
def test_things_are_counted(count: int, said: str) -> None:
    assert words.counted(count, "core") == said
