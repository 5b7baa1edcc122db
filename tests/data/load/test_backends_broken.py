"""Files that break after they were listed: the run goes on, and says so."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

from data.catalog.manifest import Manifest
from data.types import Backend, BrokenImageError, TooManyBrokenError
from tests.data.load.loading import BACKENDS, eval_loader, rows, same, train_loader
from tests.data.making import picture, scanned

VICTIM = 9  # class a


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "zero bytes": lambda content: content[:0],
    "truncated half": lambda content: content[: len(content) // 2],
    "truncated tail": lambda content: content[:-100],
    "garbage": lambda content: (b"x" * len(content))[:500],
    "bad header": lambda content: content[:20],
    "garbage of the same size": lambda content: b"x" * len(content),
    "bad header of the same size": lambda content: bytes(200) + content[200:],
}
KINDS = (*CONTENTS, "missing", "directory", "no permission")


def damage(file: Path, kind: str) -> None:
    if kind in CONTENTS:
        file.write_bytes(CONTENTS[kind](file.read_bytes()))
    elif kind == "no permission":
        file.chmod(0)
    else:
        file.unlink()
        if kind == "directory":
            file.mkdir()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions bind everybody but root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def images() -> Iterator[Manifest]:
    """24 images of two classes, where an unprivileged process can read them."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for number in range(24):
        folder = root / "train" / "ab"[number // 12]
        folder.mkdir(parents=True, exist_ok=True)
        picture(70, 60, number).save(folder / f"{number:02}.JPEG", quality=95)
    yield scanned(root)
    shutil.rmtree(root)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_takes_the_next_image_of_the_class(images: Manifest, backend: Backend, kind: str) -> None:
    with closing(train_loader(backend, images)) as loader:
        before = [*loader.epoch(0), *loader.epoch(1)]
    damage(images.path(VICTIM), kind)
    with without_privileges(), closing(train_loader(backend, images, max_broken=0.1)) as loader:
        after = [*loader.epoch(0), *loader.epoch(1)]
    broken = [image for batch in after for image in batch.broken]
    assert {image.name for image in broken} == {str(images.path(VICTIM))}
    assert len(broken) == 2  # once in each epoch
    for ours, theirs in zip(after, before, strict=True):
        struck = theirs.indices == VICTIM
        assert torch.equal(ours.indices[struck], theirs.indices[struck] + 1)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.valid.all()
        assert torch.equal(ours.images[~struck], theirs.images[~struck])
        assert bool(struck.any()) == bool(ours.broken)


@pytest.mark.parametrize("kind", ["missing", "bad header of the same size"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_goes_on_behind_a_broken_image_sees_the_same(images: Manifest, backend: Backend, kind: str) -> None:
    """What is replaced follows from the files alone, not from what a process has met before."""
    damage(images.path(VICTIM), kind)
    damage(images.path(VICTIM + 1), "garbage of the same size")
    with closing(train_loader(backend, images, max_broken=0.1)) as loader:
        whole = [*loader.epoch(0), *loader.epoch(1)]
    for first in (1, 4):
        with closing(train_loader(backend, images, max_broken=0.1)) as loader:
            resumed = [*loader.epoch(0, first), *loader.epoch(1)]
        assert all(same(ours, theirs) for ours, theirs in zip(resumed, whole[first:], strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation_leaves_the_image_out_and_keeps_the_others(images: Manifest, backend: Backend, kind: str) -> None:
    with closing(eval_loader(backend, images, 10)) as loader:
        before = rows(loader.epoch(0))
    damage(images.path(VICTIM), kind)
    with without_privileges(), closing(eval_loader(backend, images, 10, max_broken=0.1)) as loader:
        batches = list(loader.epoch(0))
    after = rows(batches)
    assert sorted(after) == [index for index in range(24) if index != VICTIM]
    assert all((after[index] == before[index]).all() for index in after)
    assert [image.name for batch in batches for image in batch.broken] == [str(images.path(VICTIM))]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_evaluation_goes_on_though_every_image_is_broken(images: Manifest, backend: Backend) -> None:
    for index in range(24):
        damage(images.path(index), KINDS[index % len(KINDS)])
    with without_privileges(), closing(eval_loader(backend, images, 10, max_broken=1.0)) as loader:
        batches = list(loader.epoch(0))
    assert not any(batch.valid.any() or batch.images.any() for batch in batches)
    broken = {image.name for batch in batches for image in batch.broken}
    assert broken == {str(images.path(index)) for index in range(24)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_broken_images_than_bearable_end_the_run(images: Manifest, backend: Backend) -> None:
    for index in (3, 4, 5):
        damage(images.path(index), "missing")
    found = r"3 of 24 images broke.*\.JPEG: No such file[^@]*--max-broken"
    with (
        closing(train_loader(backend, images, max_broken=2 / 24)) as loader,
        pytest.raises(TooManyBrokenError, match=found),
    ):
        list(loader.epoch(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_class_of_which_nothing_is_left_ends_the_run(images: Manifest, backend: Backend) -> None:
    for index in range(12):
        damage(images.path(index), "garbage of the same size")
    with (
        closing(train_loader(backend, images, max_broken=1.0)) as loader,
        pytest.raises(BrokenImageError, match="and so are the 11 images that could replace it"),
    ):
        list(loader.epoch(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_broken_image_is_named_once(images: Manifest, backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    damage(images.path(VICTIM), "zero bytes")
    with closing(train_loader(backend, images, max_broken=0.1)) as loader:
        for epoch in range(3):
            list(loader.epoch(epoch))
    assert [record.getMessage() for record in caplog.records].count(
        f"broken since it was listed, and skipped: {images.path(VICTIM)}: 0 bytes, "
        f"{images.sizes[VICTIM]:,} when it was listed"
    ) == 1
