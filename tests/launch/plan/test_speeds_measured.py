import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.plan.config import InputConfig
from launch.plan import speeds
from launch.plan.config import PlanConfig
from launch.plan.speeds import read
from models.config import ModelConfig
from tests.trainer.doctor.cases import CPU
from trainer.commands import doctor
from trainer.doctor.advice import Visit
from trainer.doctor.bound import Figures
from trainer.optim.config import AdamWConfig
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "doctor.json", CPU)


def written(file: Path, figures: Figures, **other: Any) -> Path:
    """As `doctor --json` writes it."""
    visit = Visit(replace(figures, recipe=Recipe()), [], None, [])
    file.write_text(json.dumps(doctor.plain(visit) | other, default=str))
    return file


def test_speeds_are_those_that_the_doctor_measured(file: Path) -> None:
    saving = CPU.saving
    assert saving
    found, sources = read(file).speeds(PlanConfig(gpu="v100"), Recipe())
    assert found.images_per_s == pytest.approx(1 / CPU.step.seconds)
    assert found.core_images_per_s == pytest.approx(1 / CPU.load.cpu_s)
    assert found.stall_bytes_per_s == pytest.approx(saving.bytes / saving.hold_s)
    assert found.write_bytes_per_s == pytest.approx(saving.bytes / saving.write_s)
    assert found.link_gb_s == speeds.GPUS["v100"].link_gb_s
    assert sources[0].startswith(f"measured ({file}): one process with no GPU and 2 CPU threads")
    assert len(sources) == 4


def test_without_a_checkpoint_its_rates_are_the_published_ones(tmp_path: Path) -> None:
    found, sources = read(written(tmp_path / "f", replace(CPU, saving=None))).speeds(PlanConfig(), Recipe())
    assert (found.stall_bytes_per_s, found.write_bytes_per_s) == (speeds.STALL, speeds.WRITE)
    assert "none was measured" in sources[3]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(model=ModelConfig(name="resnet18")), "is of model.name resnet50, and this recipe has resnet18"),
        (Recipe(input=InputConfig(train_size=176)), "is of input.train_size 224, and this recipe has 176"),
        (Recipe(micro_batch=64), "is of micro_batch 32, and this recipe has 64; measure this one"),
        (Recipe(precision="fp32"), "is of precision bf16, and this recipe has fp32"),
    ],
)
def test_figures_of_another_step_are_refused(file: Path, recipe: Recipe, expected: str) -> None:
    (problem,) = read(file).problems(recipe)
    assert expected in problem


def test_other_departures_are_named(file: Path) -> None:
    recipe = Recipe(epochs=3, optimizer=AdamWConfig())
    assert read(file).problems(recipe) == []
    assert "optimizer.name" in read(file).speeds(PlanConfig(), recipe)[1][-1]


def test_figures_of_several_processes_are_refused(tmp_path: Path) -> None:
    measured = read(written(tmp_path / "f", replace(CPU, place=replace(CPU.place, world_size=4))))
    assert "is of 4 processes; measure one" in measured.problems(Recipe())[0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"figures": {}, "recipe": {}}', '{"figures": 1, "recipe": 2}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "f"
    file.write_text(content)
    with pytest.raises(InvalidConfigError, match=r"--measured: .*it is not what this version's .* --json writes"):
        read(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"--measured: .*No such file"):
        read(tmp_path / "f")
