from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from data.types import Batch, BrokenImage
from trainer.engine.validation import evaluate
from trainer.runtime import Runtime
from trainer.world import World


class Rows:
    """A loader over given rows, the last batch filled up."""

    def __init__(self, targets: list[int], batch: int) -> None:
        self._targets, self._batch = torch.tensor(targets), batch

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self._targets) // self._batch)

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        del epoch
        for start in range(first_batch * self._batch, len(self._targets), self._batch):
            positions = torch.arange(start, start + self._batch)
            valid = positions < len(self._targets)
            indices = positions.where(valid, 0)
            images = indices.view(-1, 1, 1, 1).expand(-1, 2, 2, 3).to(torch.uint8)
            yield Batch(images, self._targets[indices], indices, valid, torch.zeros(4))

    def close(self) -> None:
        pass


class Known(nn.Module):
    """Says class 1 for every image, class 0 second."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return torch.tensor([5.0, 6, 4, 3, 2, 1, 0]).expand(len(images), 7)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


@pytest.mark.parametrize("batch", [1, 2, 4, 7, 100])
def test_each_image_counts_once_at_any_batch_size(runtime: Runtime, batch: int) -> None:
    loader = Rows([1, 0, 6, 1, 1, 6, 2], batch)
    (scores,) = evaluate(runtime, [Known()], loader, lambda images: images, 0, lambda *_: False) or []
    assert scores.images == 7
    assert scores.top1 == pytest.approx(100 * 3 / 7)
    assert scores.top5 == pytest.approx(100 * 5 / 7)


def test_an_image_that_broke_is_counted_apart(runtime: Runtime) -> None:
    class Breaking(Rows):
        def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
            for batch in super().epoch(epoch, first_batch):
                yield replace(batch, valid=batch.valid & (batch.indices != 2), broken=(BrokenImage("x.JPEG", "gone"),))

    (scores,) = (
        evaluate(runtime, [Known()], Breaking([1, 0, 6, 1], 4), lambda images: images, 0, lambda *_: False) or []
    )
    assert (scores.images, scores.broken) == (3, 1)
    assert scores.top1 == pytest.approx(100 * 2 / 3)


class Other(Known):
    """Says class 6 for every image."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).roll(-2, 1)


def test_two_networks_see_the_same_images_and_keep_their_modes(runtime: Runtime) -> None:
    raw, averaged = Known(), Other().eval()
    found = evaluate(runtime, [raw, averaged], Rows([1, 6, 6], 2), lambda images: images, 0, lambda *_: False)
    assert found is not None
    assert [scores.top1 for scores in found] == pytest.approx([100 / 3, 200 / 3])
    assert (raw.training, averaged.training) == (True, False)


def test_each_batch_is_shown_with_the_last_network_s_logits(runtime: Runtime) -> None:
    seen = list[tuple[list[int], list[int]]]()

    def each(batch: Batch, logits: Tensor) -> bool:
        seen.append((batch.indices.tolist(), logits.argmax(1).tolist()))
        return False

    evaluate(runtime, [Known(), Other()], Rows([1, 6, 6], 2), lambda images: images, 0, each)
    assert seen == [([0, 1], [6, 6]), ([2, 0], [6, 6])]


def test_a_stop_leaves_no_scores(runtime: Runtime) -> None:
    network = Known()
    assert evaluate(runtime, [network], Rows([1, 2, 3], 1), lambda images: images, 0, lambda *_: True) is None
    assert network.training
