import json
from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.commands import doctor
from trainer.doctor.advice import Trial, Visit, advise
from trainer.doctor.bound import Change, Figures, Pace, Reduction
from trainer.doctor.machine import Finding

IDLE = replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.005, 0.003))


def visit(figures: Figures, trial: Trial | None = None) -> Visit:
    return Visit(figures, advise(figures), trial, ["160 drawn JPEGs"])


def test_what_is_wrong_with_the_machine_is_told_with_its_fix() -> None:
    checks = [Finding("driver", "good", "is new"), Finding("disk", "bad", "is slow", "use another")]
    head, note, summary, finding = doctor.opening(visit(GPU), checks)
    assert head.startswith("resnet50, 224 px, bf16, micro_batch 50 of global_batch 100; processes: 1, in each 8 cores")
    assert note == "160 drawn JPEGs"
    assert (summary, finding) == ("machine: 2 checks, 1 to look at", "  disk: is slow; use another")


def test_a_row_for_each_measurement() -> None:
    assert [row[:3] for row in doctor.rows(CPU)] == [
        ("loader alone", "500.0", "4.00"),
        ("step alone", "333.3", "6.00"),
        ("both together", "181.8", "11.00"),
        ("evaluation", "250.0", "8.00"),
        ("checkpoint", "", ""),
    ]
    *_, checkpoint = doctor.rows(CPU)
    assert checkpoint[3] == "stops training for 100 ms, is written in 0.40 s, costs 430 ms in all; 0 MB"
    several = replace(CPU, saving=None, reduction=Reduction(seconds=0.2, exposed_s=0.05, bytes=102_000_000))
    *_, sums = doctor.rows(several)
    assert sums == ("sum of gradients", "", "", "200.0 ms for 102 MB; makes a step 50.0 ms longer")


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (GPU, "loader-bound: 50% of the step is waiting for images"),
        (CPU, "CPU-bound: 45% of the step is decoding, which takes CPU cores from training"),
        (IDLE, "bound by the step itself: training runs at 100% of the rate of the step alone"),
        (
            replace(IDLE, changes=(Change("micro_batch", "", seconds=0.002),)),
            "bound by small micro-batches: larger ones than 50 images shorten a step by 60%",
        ),
        (
            replace(IDLE, reduction=Reduction(seconds=0.2, exposed_s=0.2, bytes=1)),
            "bound by the sum of gradients: 40% of the step waits for other processes",
        ),
    ],
)
def test_the_headline_says_what_bounds_the_run_and_by_how_much(figures: Figures, said: str) -> None:
    assert doctor.headline(figures) == said


def test_checkpoints_in_the_headline_come_with_their_interval() -> None:
    assert CPU.saving
    often = replace(CPU, together=CPU.step, saving=replace(CPU.saving, cost_s=3.0))
    assert doctor.headline(often) == "checkpoint-bound: 47% of the time goes to one each 10 steps"


def test_an_epoch_the_run_and_the_advice_are_told() -> None:
    lines = list(doctor.conclusions(visit(CPU)))
    assert lines[2:4] == [
        "end to end 158.0 images/s: an epoch takes 1.1 minutes (training 86.9%, evaluation 6.3%, checkpoints 6.8%)",
        "all 90 epochs take 1.6 hours",
    ]
    assert "  --save-steps 79: 1.07 times, 180.0 images/s; a killed run loses more" in lines


def test_what_was_not_measured_is_told() -> None:
    lines = list(doctor.conclusions(visit(replace(IDLE, untried=("--micro-batch 100: does not fit into memory",)))))
    assert "nothing that was measured gains 2 % or more" in lines
    assert "not measured: --micro-batch 100: does not fit into memory" in lines


def test_a_trial_stands_beside_its_prediction() -> None:
    *_, tried = doctor.conclusions(visit(GPU, Trial("--threads 4", 100, 180, 1.8, 2)))
    assert tried == (
        "tried --threads 4, in turns with the run as it is: 100.0 images/s become 180.0, 1.80 times; "
        "predicted were 2.00 times"
    )


def test_all_of_it_can_be_kept() -> None:
    content = json.loads(json.dumps(doctor.plain(visit(CPU)), default=str))
    assert content["recipe"]["micro_batch"] == 50
    assert content["diagnosis"]["bound"] == "cpu"
    assert {"save_steps": 79} in [advice["change"]["site"] for advice in content["advice"]]
    assert content["figures"]["load"] == {"seconds": 0.002, "cpu_s": 0.004}
