from pathlib import Path

import pytest

from data.bench.talk import FailedError
from data.config import AugmentConfig, InputConfig
from launch.plan import calibrate
from launch.plan.config import PlanConfig
from launch.plan.network import weigh
from models.config import ModelConfig
from trainer.config import Recipe
from trainer.learn.config import EmaConfig, MixingConfig
from trainer.learn.optim_config import AdamWConfig

SMALL = Recipe(
    model=ModelConfig(name="resnet20", num_classes=10),
    input=InputConfig(train_size=32),
    micro_batch=4,
    precision="fp32",
)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (SMALL, []),
        (
            Recipe(precision="fp16"),
            ["--calibrate: does not time fp16; time it in fp32 or bf16, or give --images-per-s"],
        ),
        (
            Recipe(micro_batch=1),
            ["--calibrate: micro_batch 1 leaves BatchNorm no variance; use --micro-batch 2 or more"],
        ),
    ],
)
def test_what_cannot_be_timed_is_refused(recipe: Recipe, expected: list[str]) -> None:
    assert calibrate.problems(recipe, None) == expected


def test_images_too_few_to_time_a_loader_on_are_refused(images: Path, tmp_path: Path) -> None:
    assert calibrate.problems(SMALL, images) == []
    assert "has no folder train" in calibrate.problems(SMALL, tmp_path)[0]
    (tmp_path / "train" / "one").mkdir(parents=True)
    assert "holds fewer than 32 images" in calibrate.problems(SMALL, tmp_path)[0]


def test_what_the_timed_loop_does_not_know_is_named() -> None:
    assert calibrate.unmeasured(SMALL) == []
    changed = Recipe(
        model=ModelConfig(ghost=2),
        optimizer=AdamWConfig(),
        mixing=MixingConfig(mixup=0.2),
        ema=EmaConfig(decay=0.99),
        input=InputConfig(crop="padded", augment=AugmentConfig(policy="randaugment")),
        compile="default",
    )
    expected = ["model options", "optimizer adamw", "mixing", "ema", "compile", "crop padded", "augment"]
    assert calibrate.unmeasured(changed) == expected


def test_a_listing_that_fails_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    with pytest.raises(FailedError, match=r"--data: .* has fewer than 32 images"):
        calibrate.loader_rate(32, tmp_path / "data", tmp_path)


@pytest.mark.slow
def test_one_process_of_this_machine_is_timed(images: Path) -> None:
    network = weigh(SMALL.model, 32)
    found, sources = calibrate.speeds(PlanConfig(calibrate=True, data=images), SMALL, network)
    assert 1 < found.images_per_s < 1e6
    assert 1 < found.core_images_per_s < 1e6
    assert found.stall_bytes_per_s > found.write_bytes_per_s > 0
    assert sources[0].startswith("measured: a GPU of the table stands for a process of this machine")
