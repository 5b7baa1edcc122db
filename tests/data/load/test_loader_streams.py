"""When a loader's stream goes on, and when another is opened: what was read ahead must be what is asked for."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.load.loader import PlanLoader
from data.load.threads import ThreadStream
from data.plan.plan import TrainPlan
from data.plan.samples import Samples
from data.types import Batch, Shard, TooManyBrokenError
from tests.data.load.loading import CONFIG, same
from tests.data.making import scanned, varied_tree


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(varied_tree(tmp_path_factory.mktemp("images")))


class Counted:
    """A loader of 32 images in 8 batches, and how often it opened a stream."""

    def __init__(self, images: Manifest, max_broken: float = 0.0) -> None:
        self.opened, self._images = 0, images
        plan = TrainPlan(manifest=images, config=CONFIG, seed=3, global_batch=8, micro_batch=4, shard=Shard())

        def stream(samples: Iterator[Samples]) -> ThreadStream:
            self.opened += 1
            return ThreadStream(Images(images), plan, samples, threads=1, pinned=False)

        self.loader = PlanLoader(plan, stream, max_broken)


@pytest.fixture(scope="module")
def whole(images: Manifest) -> list[Batch]:
    with closing(Counted(images).loader) as loader:
        return [*loader.epoch(0), *loader.epoch(1)]


def test_one_stream_serves_epoch_after_epoch_and_any_batch_that_is_the_next(
    images: Manifest, whole: list[Batch]
) -> None:
    counted = Counted(images)
    with closing(counted.loader) as loader:
        source = loader.epoch(0)
        seen = [next(source) for _ in range(3)]
        seen += [*loader.epoch(0, 3), *loader.epoch(1)]
    assert counted.opened == 1
    assert all(map(same, seen, whole))
    assert len(seen) == len(whole) == 16


@pytest.mark.parametrize(
    ("epoch", "first"), [(0, 2), (0, 4), (0, 0), (1, 0), (1, 3)], ids=["before", "after", "begin", "next", "other"]
)
def test_any_other_batch_opens_another(epoch: int, first: int, images: Manifest, whole: list[Batch]) -> None:
    counted = Counted(images)
    with closing(counted.loader) as loader:
        source = loader.epoch(0)
        for _ in range(3):
            next(source)
        assert same(next(loader.epoch(epoch, first)), whole[8 * epoch + first])
    assert counted.opened == 2


def test_a_closed_loader_begins_anew(images: Manifest, whole: list[Batch]) -> None:
    counted = Counted(images)
    with closing(counted.loader) as loader:
        source = loader.epoch(0)
        next(source)
        loader.close()
        assert same(next(loader.epoch(0, 1)), whole[1])
    assert counted.opened == 2


def test_after_an_error_the_same_batch_is_not_the_one_behind_it(images: Manifest, whole: list[Batch]) -> None:
    """The stream has given the batch with the broken image away."""
    row = int(whole[2].indices[0])
    file, aside = images.path(row), images.path(row).with_suffix(".aside")
    shutil.move(file, aside)
    counted = Counted(images)
    with closing(counted.loader) as loader:
        source = loader.epoch(0)
        assert same(next(source), whole[0])
        assert same(next(source), whole[1])
        with pytest.raises(TooManyBrokenError):
            next(source)
        shutil.move(aside, file)
        assert same(next(loader.epoch(0, 2)), whole[2])
    assert counted.opened == 2


def test_an_image_that_breaks_within_the_tolerance_stops_nothing(
    images: Manifest, whole: list[Batch], tmp_path: Path
) -> None:
    row = int(whole[2].indices[0])
    aside = shutil.move(images.path(row), tmp_path / "aside")
    counted = Counted(images, max_broken=0.05)
    with closing(counted.loader) as loader:
        seen = list(loader.epoch(0))
    shutil.move(aside, images.path(row))
    assert (len(seen), counted.opened) == (8, 1)
    assert [len(batch.broken) for batch in seen] == [int(row in whole[n].indices) for n in range(8)]
    assert torch.equal(seen[2].indices[1:], whole[2].indices[1:])
    assert seen[2].indices[0] != row
