from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.telemetry.watched import point
from trainer.telemetry import pictures
from trainer.telemetry.tensorboard import POINTS, Board, shown

EPOCHS, STEPS_PER_EPOCH, LOG_EVERY = 90, 5004, 20


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.slow
def test_ninety_epochs_of_imagenet_take_less_than_50_mb(tmp_path: Path) -> None:
    import numpy as np

    board = Board(tmp_path, print)
    total, points = EPOCHS * STEPS_PER_EPOCH, 0
    groups = point(1).groups()
    scalars = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    scalars |= {f"spare/{number}": 0.5 for number in range(15)}  # as many as a run on GPUs has, and more
    for step in range(1, total + 1):
        if (step % LOG_EVERY == 0 or step % STEPS_PER_EPOCH == 0) and shown(step, LOG_EVERY, STEPS_PER_EPOCH, total):
            board.scalars(step, scalars)
            board.by_images(256 * step, dict.fromkeys(("train_loss", "train_top1", "lr"), 0.5))
            points += 1
    noise = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), dtype=np.uint8)
    for epoch in range(40):  # noise is what JPEG packs worst
        board.picture("images/training", epoch, pictures.grid(list(noise), [("word", "word")] * 16))
    board.close()
    assert 0.5 * POINTS < points <= POINTS
    assert bytes_in(tmp_path) < 50e6


@pytest.mark.parametrize(
    ("log_every", "per_epoch", "total"), [(20, 62, 496), (1, 5, 60), (50, 5004, 450_360), (7, 100, 123_400)]
)
def test_points_are_as_many_as_are_wanted_and_the_last_is_among_them(
    log_every: int, per_epoch: int, total: int
) -> None:
    logged = [step for step in range(1, total + 1) if step % log_every == 0 or step % per_epoch == 0]
    found = [step for step in logged if shown(step, log_every, per_epoch, total)]
    assert found[-1] == total
    assert len(found) == len(logged) if total <= POINTS else len(found) <= POINTS + 1


def test_settings_metrics_and_layout_are_for_tensorboard_s_tabs(tmp_path: Path) -> None:
    board = Board(tmp_path, print)
    board.describe({"seed": 1, "optimizer.lr": 0.1, "model.name": "resnet20"}, ("eval/top1",))
    board.scalars(1, {"eval/top1": 50.0})
    board.end()
    board.close()
    content = EventAccumulator(str(tmp_path)).Reload().summary_metadata
    plugins = {tag: metadata.plugin_data.plugin_name for tag, metadata in content.items()}
    assert plugins["custom_scalars__config__"] == "custom_scalars"
    hparams = [tag for tag, plugin in plugins.items() if plugin == "hparams"]
    assert {tag.rpartition("/")[2] for tag in hparams} == {"experiment", "session_start_info", "session_end_info"}


def test_what_is_written_can_be_read_while_the_file_is_open(tmp_path: Path) -> None:
    board = Board(tmp_path, print)
    board.scalars(1, {"train/loss": 2.5})
    board.by_images(256, {"train_loss": 2.5})
    read = [EventAccumulator(str(folder)).Reload() for folder in (tmp_path, tmp_path / "by_images")]
    assert read[0].Scalars("train/loss")[0].value == 2.5
    assert read[1].Scalars("images_seen/train_loss")[0].step == 256
    board.close()
