from dataclasses import replace
from pathlib import Path

from launch.plan import worker
from models.config import ModelConfig
from tests.trainer.bench.tasks import tiny


def test_multiply_adds_are_those_of_the_image_size() -> None:
    model = ModelConfig(name="resnet20", num_classes=10)
    small, large = (worker.count(model, size)["multiply_adds"] for size in (32, 64))
    classifier = 64 * 10
    assert large - classifier == 4 * (small - classifier)


def test_a_save_holds_training_for_less_than_its_write(tmp_path: Path) -> None:
    found = worker.saves(replace(tiny(tmp_path, "resnet56"), loop="ours"))
    assert 0 < found["stall_ms"] < found["write_ms"]
