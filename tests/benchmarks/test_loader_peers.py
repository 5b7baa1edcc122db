from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.benchmarks import loader_peers
from tests.benchmarks.loaders_config import BenchTask, Split

PEERS = [loader_peers.torchvision_reference, loader_peers.torchvision_v2, loader_peers.timm_loader]
pytestmark = [
    pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # timm leaves them to the garbage collector
]


@pytest.fixture
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_peers, "EPOCH", 1)


def task(root: Path, split: Split) -> BenchTask:
    """No worker processes: pytest has threads, which a fork would leave behind in whatever state they are."""
    return BenchTask(contender="torchvision", root=root, split=split, batch=48, threads=0, size=32, manifests=root)


@pytest.mark.usefixtures("_short_epochs")
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_gives_normalised_batches_without_end(
    images: Path, peer: Callable[[BenchTask], Iterator[Tensor]], split: Split
) -> None:
    batches = list(islice(peer(task(images, split)), 3))  # more than an epoch of 96 or 80 images
    assert all((batch.shape[1:], batch.dtype) == ((3, 32, 32), torch.float32) for batch in batches)
    assert [len(batch) for batch in batches] == ([48, 48, 48] if split == "train" else [48, 32, 48])
    assert all(-2.2 < batch.min() < 0 < batch.max() < 2.7 for batch in batches)
    assert not torch.equal(batches[0], batches[1])


@pytest.mark.usefixtures("_short_epochs")
def test_the_peers_agree_on_what_validation_shows(images: Path) -> None:
    """So none of them is timed on an easier task."""
    shown = [next(peer(task(images, "val"))) for peer in PEERS]
    for other in shown[1:]:
        assert (other - shown[0]).abs().mean() < 0.01


@pytest.mark.usefixtures("_short_epochs")
@pytest.mark.parametrize("peer", PEERS)
def test_training_crops_are_random(images: Path, peer: Callable[[BenchTask], Iterator[Tensor]]) -> None:
    torch.manual_seed(0)
    first = next(peer(task(images, "train")))
    torch.manual_seed(1)
    assert not torch.equal(first, next(peer(task(images, "train"))))


def test_a_small_set_makes_an_epoch_as_long_as_imagenet_s() -> None:
    drawn = loader_peers.drawn_out(["a", "b", "c"])
    assert 1_000_000 <= len(drawn) < 1_000_003
    assert drawn[:4] == ["a", "b", "c", "a"]
