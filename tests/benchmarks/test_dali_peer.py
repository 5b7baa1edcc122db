from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.benchmarks.loaders_config import BenchTask, Split

pytest.importorskip("nvidia.dali")


@pytest.mark.parametrize(("split", "last"), [("train", 16), ("val", 0)])
def test_the_example_gives_normalised_batches_without_end(images: Path, split: Split, last: int) -> None:
    from tests.benchmarks import dali_peer

    task = BenchTask(contender="dali-example", root=images, split=split, batch=40, threads=2, size=32, manifests=images)
    batches = list(islice(dali_peer.example(task), 4))
    sizes = [40, 40, last or 40, 40]  # 96 images to train on, whose last batch is smaller; 80 to evaluate
    assert [tuple(batch.shape) for batch in batches] == [(size, 3, 32, 32) for size in sizes]
    assert all(batch.dtype == torch.float32 for batch in batches)
    assert all(-2.2 < batch.min() < 0 < batch.max() < 2.7 for batch in batches)
