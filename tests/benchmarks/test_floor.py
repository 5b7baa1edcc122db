from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.benchmarks import floor, loader_peers
from tests.benchmarks.loaders_config import BenchTask, Split

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")


def task(root: Path, split: Split, threads: int = 2, batch: int = 80) -> BenchTask:
    return BenchTask(contender="floor", root=root, split=split, batch=batch, threads=threads, size=32, manifests=root)


@pytest.fixture(autouse=True)
def _threads_as_before() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_floor_does_the_whole_work(images: Path, threads: int) -> None:
    """Its crops begin at whole pixels, so its images are nearly those that torchvision shows, in another order."""
    shown = next(floor.floor(task(images, "val", threads)).batches)
    assert (shown.shape, shown.dtype) == ((80, 32, 32, 3), torch.uint8)
    theirs = next(loader_peers.torchvision_reference(task(images, "val", threads=0)))
    expected = theirs.permute(0, 2, 3, 1) * torch.tensor(loader_peers.STD) + torch.tensor(
        loader_peers.MEAN
    )  # (N, C, H, W) -> NHWC
    distance = torch.cdist(shown.flatten(1).float(), 255 * expected.flatten(1), p=1) / shown[0].numel()
    assert distance.amin(dim=1).max() < 12  # grey levels, of the worst image in the mean over its pixels
    assert 75 <= len(set(distance.argmin(dim=1).tolist())) <= 80  # greyscale ones are left out


def test_the_floor_goes_on_without_end(images: Path) -> None:
    first, second = (batch.clone() for batch in islice(floor.floor(task(images, "train", batch=64)).batches, 2))
    again = next(row for row in range(64) if torch.equal(second[row], first[0]))
    assert 90 <= 64 + again <= 96
    assert torch.equal(second[again:], first[: 64 - again])


def test_decoding_alone_gives_no_pixels(images: Path) -> None:
    found = floor.decode(task(images, "train", batch=8))
    assert found.decoder in ("torchvision", "simplejpeg", "turbojpeg")
    assert next(found.batches).shape == (8, 0)
