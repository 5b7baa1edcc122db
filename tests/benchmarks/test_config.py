from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.config import BenchConfig, decode
from tests.benchmarks.tasks import tiny


def test_a_task_reaches_its_process_as_it_was() -> None:
    task = replace(tiny(Path("a b/c")), precision="bf16", threads=2)
    assert decode(task.encode()) == task
    other = task.by("ours", threads=1)
    assert (other.loop, other.threads, other.network) == ("ours", 1, "resnet20")
    assert other.folder.parent == task.folder
    assert task.by("ours").folder != other.folder


@pytest.mark.parametrize(("given", "pixels", "batch"), [(None, 32, 128), (None, 33, 32), (None, 224, 32), (6, 32, 6)])
def test_small_images_come_in_large_batches(given: int | None, pixels: int, batch: int) -> None:
    assert BenchConfig(batch=given).batch_of(pixels) == batch
