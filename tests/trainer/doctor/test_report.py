import json
from dataclasses import replace

from tests.trainer.doctor.cases import CPU, GPU
from trainer.config import Recipe
from trainer.doctor import report
from trainer.doctor.advice import advise
from trainer.doctor.figures import Figures
from trainer.doctor.finding import bad, good
from trainer.doctor.session import Visit
from trainer.doctor.trial import Trial


def visit(figures: Figures, trial: Trial | None = None) -> Visit:
    return Visit(recipe=Recipe(), figures=figures, advice=advise(figures), trial=trial, notes=["160 drawn JPEGs"])


def test_the_machine_is_told_with_what_it_lacks() -> None:
    machine = [good("driver", "is new"), bad("disk", "is slow", "use another")]
    head, note, summary, finding = report.opening(visit(GPU), machine)
    assert head.startswith("resnet50, 224 px, bf16, passes of 32 of 256 images; 1 process, each with 8 cores")
    assert note == "160 drawn JPEGs"
    assert (summary, finding) == ("environment: 2 checks, 1 to look at", "  disk: is slow; use another")


def test_a_row_for_each_measure() -> None:
    assert [row[:3] for row in report.rows(CPU)] == [
        ("loader alone", "500.0", "4.00"),
        ("step alone", "333.3", "6.00"),
        ("both together", "181.8", "11.00"),
        ("evaluation", "250.0", "8.00"),
        ("checkpoint", "", ""),
        ("sum of gradients", "", ""),
    ]
    assert CPU.saving
    seen = replace(CPU, saving=replace(CPU.saving, cost_s=0.5))
    assert "with checkpoints" in [row[0] for row in report.rows(seen)]


def test_a_trial_stands_beside_its_prediction() -> None:
    trial = Trial(flags="--threads 4", before=100, predicted=200, measured=180, predicted_gain=2)
    *_, tried, before, predicted, measured = report.conclusions(visit(GPU, trial))
    assert tried == "tried --threads 4, in turns with the run as it is:"
    assert before.split() == ["as", "it", "is", "100.0", "images/s"]
    assert predicted.split()[:3] == ["predicted", "200.0", "images/s,"]
    assert measured.endswith("180.0 images/s, 1.80 times; the predicted gain was 11% too high")


def test_a_machine_that_others_use_is_told() -> None:
    busy = replace(CPU, place=replace(CPU.place, left=0.8))
    assert any("other programs took 1.2 of 2 cores" in line for line in report.conclusions(visit(busy)))
    assert not any("other programs" in line for line in report.conclusions(visit(CPU)))


def test_a_loader_that_waits_for_its_disk_is_told() -> None:
    slow = replace(GPU, load=replace(GPU.load, cpu_s=0.002))
    assert any("threads stand still for 90% of their time" in line for line in report.conclusions(visit(slow)))


def test_all_of_it_can_be_kept() -> None:
    found = json.loads(json.dumps(report.plain(visit(CPU)), default=str))
    assert found["recipe"]["micro_batch"] == 32
    assert found["diagnosis"]["bound"] == "cpu"
    assert found["advice"][0]["change"]["site"] == {"save_steps": 79}
    assert found["figures"]["load"] == {"seconds": 0.002, "cpu_s": 0.004}
