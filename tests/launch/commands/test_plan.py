import subprocess
import sys
from typing import Any

import pytest

from data.plan.config import InputConfig
from launch.commands.plan import Plan
from launch.plan.config import PlanConfig
from models.config import ModelConfig
from trainer.optim.config import EmaConfig
from trainer.recipe.config import Recipe


def plan(settings: Recipe | None = None, **config: Any) -> Plan:
    return Plan(recipe="resnet50", config=PlanConfig(**config), settings=settings or Recipe())


@pytest.mark.slow
def test_a_plan_says_what_a_run_takes_and_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(nodes=1, hours=1.0).run() == 0
    said = capsys.readouterr().out
    head, _, _, one, two, four, eight, beyond = said.splitlines()[:8]
    assert head.startswith("resnet50 at 224 px: 25,557,032 parameters, 4.09 billion multiply-adds; 90 epochs")
    assert one.split()[:3] == ["1", "1", "2,470"]
    assert [row.split()[0] for row in (two, four, eight)] == ["2", "4", "8"]
    assert beyond.startswith("not on 16, 32, 64, 128, 256, 512, 1,024 GPUs: global_batch 256")
    assert "\n8 GPUs on 1 node\n" in said
    assert "NVIDIA DeepLearningExamples" in said
    # 90 epochs at 2,470 images/s are 13.0 h, evaluations 0.2 h: 14 jobs of an hour less two minutes
    assert one.split()[-3:] == ["13", "compute", "5"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (plan(nodes=0), "--nodes: 0; must be at least 1 and at most 1024"),
        (plan(nodes=2000), "--nodes: 2000; must be at least 1 and at most 1024"),
        (plan(images_per_s=0.0), "--images-per-s: 0.0; must be above 0"),
        (plan(latency_us=float("nan")), "--latency-us: nan; must be finite"),
        (plan(gpu="p100"), "--gpu p100: no published rate in bf16; use --precision fp32"),
        (plan(nodes=200), "--nodes: 200 of 8 GPUs make 1,600"),
        (plan(Recipe(epochs=0)), "epochs: 0; must be at least 1"),
        (plan(Recipe(ema=EmaConfig(every=2))), "ema.every: has no effect without ema.decay"),
        (plan(Recipe(model=ModelConfig(name="resnet5O"))), "did you mean resnet50"),
        (plan(Recipe(gradient_checkpointing=True)), "gradient_checkpointing: resnet50 does not offer it"),
        (plan(Recipe(global_batch=33)), "micro_batch: 32 does not divide global_batch: 33"),
    ],
)
def test_bad_input_is_refused(command: Plan, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run() == 2
    said = capsys.readouterr()
    assert expected in said.err
    assert said.out == ""


def test_a_limit_too_short_to_train_in_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(hours=0.03).run() == 2
    assert "--hours: 0.03 are 108 s, but a job's start and its last checkpoint take 120 s" in capsys.readouterr().err


def test_a_network_that_cannot_be_built_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    small = Recipe(model=ModelConfig(name="torchvision/alexnet"), input=InputConfig(train_size=32))
    assert plan(small).run() == 1
    assert capsys.readouterr().err.startswith("failed: ")


def test_torch_stays_out_of_a_refusal() -> None:
    code = (
        "import sys; from launch.cli import main; code = main(['plan', 'resnet50', '--gpu', 'p100']); "
        "heavy = {'torch', 'torchvision', 'timm', 'accelerate'} & set(sys.modules); sys.exit(f'{code} {heavy}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "2 set()"
