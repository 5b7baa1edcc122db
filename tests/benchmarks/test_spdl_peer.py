from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.benchmarks import loader_peers
from tests.benchmarks.loaders_config import BenchTask, Split

pytest.importorskip("spdl.io")


@pytest.mark.parametrize("split", ["train", "val"])
def test_it_gives_batches_without_end_of_the_pixels_that_torchvision_shows(images: Path, split: Split) -> None:
    from tests.benchmarks import spdl_peer

    task = BenchTask(contender="spdl", root=images, split=split, batch=40, threads=2, size=32, manifests=images)
    try:
        with closing(spdl_peer.example(task)) as batches:
            shown = list(islice(batches, 4))
    except ModuleNotFoundError as error:
        pytest.skip(f"no {error.name}")
    assert [(tuple(batch.shape), batch.dtype) for batch in shown] == [((40, 32, 32, 3), torch.uint8)] * 4
    assert not torch.equal(shown[0], shown[1])
    if split == "val":
        theirs = next(loader_peers.torchvision_reference(replace(task, threads=0))).permute(
            0, 2, 3, 1
        )  # (N, C, H, W) -> NHWC
        levels = 255 * (theirs * torch.tensor(loader_peers.STD) + torch.tensor(loader_peers.MEAN))
        assert (shown[0] - levels).abs().mean() < 12  # grey levels
