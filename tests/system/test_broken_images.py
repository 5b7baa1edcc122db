"""Images that cannot be used, in whole runs: some from the start, some on the way."""

import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.system.running import finish, points, records, same_bits, start, state, stop_at, train
from trainer.stopping import START_AGAIN

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(images: Path, tmp_path: Path) -> Path:
    """A data set that may be damaged."""
    shutil.copytree(images, tmp_path / "images")
    return tmp_path / "images"


def files(root: Path, split: str) -> list[Path]:
    return sorted((root / split).rglob("*.JPEG"))


def test_too_many_images_that_are_broken_from_the_start_are_refused(copy: Path, tmp_path: Path) -> None:
    first, second = files(copy, "train")[5], files(copy, "val")[3]
    first.write_bytes(first.read_bytes()[:-100])
    second.write_bytes(b"")
    refused = finish(start(copy, tmp_path / "refused"), code=1)
    assert f"{first}: " in refused
    assert "--max-broken" in refused
    assert "Traceback" not in refused


@pytest.mark.parametrize("loader", ["threads", "dali"])
def test_images_that_break_on_the_way_are_replaced_and_counted(copy: Path, tmp_path: Path, loader: str) -> None:
    """Also where the run is stopped and goes on: it ends as the one that went straight on."""
    flags = ("--max-broken", "0.05", "--loader", loader)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    begun = start(copy, straight, *flags)
    stop_at(begun, straight, 2, signal.SIGTERM)
    finish(begun, code=START_AGAIN)
    shutil.copytree(straight, stopped)
    lost, changed = files(copy, "train")[10], files(copy, "val")[7]
    lost.unlink()
    Image.new("RGB", (50, 50)).save(changed)

    output = train(copy, straight, *flags)
    assert f"broken since it was listed, and skipped: {lost}: No such file or directory" in output
    process = start(copy, stopped, *flags)
    stop_at(process, stopped, 30, signal.SIGTERM)
    finish(process, code=START_AGAIN)
    train(copy, stopped, *flags)
    assert same_bits(state(stopped), state(straight))
    assert points(stopped) == points(straight)

    replaced = [record for record in records(straight) if record["kind"] == "train"][-1]["replaced"]
    assert 8 <= replaced <= 12  # once in nearly every epoch
    board = EventAccumulator(str(straight), size_guidance={"scalars": 0}).Reload()
    assert board.Scalars("input/replaced")[-1].value == replaced
    report = (straight / "report.md").read_text()
    assert f"| images replaced in training, as they could not be read | {replaced} |" in report
    assert "| images evaluated | 79, each once; 1 broken is left out |" in report


def test_more_broken_images_than_bearable_end_the_run_with_a_word(copy: Path, tmp_path: Path) -> None:
    lost = files(copy, "train")[10]
    process = start(copy, tmp_path / "run", "--epochs", "100")
    stop_at(process, tmp_path / "run", 8, signal.SIGCONT)
    lost.write_bytes(b"")
    output = finish(process, code=1)
    assert f"failed: 1 of 96 images broke since they were listed, the last: {lost}: 0 bytes" in output
    assert "raise --max-broken" in output
    assert "Traceback" not in output
