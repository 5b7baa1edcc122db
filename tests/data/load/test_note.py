import struct
from contextlib import closing
from pathlib import Path

import pytest
import torch

from data.catalog import dataset
from data.catalog.manifest import Manifest
from data.load import note
from data.load.backends import open_loader
from data.load.note import Note
from data.plan.plan import TrainPlan
from data.schema import NewerSchemaError
from data.types import Backend, Shard
from data.verify import verify
from tests.data.load.loading import BACKENDS, CONFIG
from tests.limits import full_disk


@pytest.fixture(scope="module")
def manifest(images: Path) -> Manifest:
    """24 images of each of 4 classes."""
    return verify.scan(dataset.find(images).listing("train"), workers=1).manifest


@pytest.fixture
def plan(manifest: Manifest) -> TrainPlan:
    """24 batches of 4 images an epoch."""
    return TrainPlan(manifest=manifest, config=CONFIG, seed=3, global_batch=8, micro_batch=4, shard=Shard())


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_loader_has_in_hand_is_written_down(backend: Backend, plan: TrainPlan, tmp_path: Path) -> None:
    file = tmp_path / "note"
    ahead = [batch.indices.tolist() for batch, _ in zip(plan.samples(0, 0), range(40), strict=False)]
    at_work = Note(file, plan.max_batch)
    with closing(
        open_loader(plan, backend, device=torch.device("cpu"), threads=2, max_broken=0.0, note=at_work)
    ) as loader:
        assert note.read(file) == []
        batches = loader.epoch(0)
        for taken in range(1, 20):  # more than the note has slots
            next(batches)
            assert note.read(file)[:8] == [*ahead[taken], *ahead[taken + 1]]
        assert len(note.read(file)) < note.SLOTS * 4  # else some would have been lost
        next(loader.epoch(0, 5))  # opened anew: nothing of before is at work
        assert note.read(file)[:4] == ahead[6]
    at_work.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_nothing_and_invents_nothing(plan: TrainPlan, tmp_path: Path) -> None:
    at_work = Note(tmp_path / "note", plan.max_batch)
    with full_disk(4):
        batches = at_work.follow(plan.samples(0, 0))
        for _ in range(3):
            next(batches)
            at_work.finished()
    assert note.read(tmp_path / "note") == []


def test_another_process_s_note_in_its_place_is_left(tmp_path: Path) -> None:
    ours = Note(tmp_path / "note", 4)
    (tmp_path / "note").unlink()
    theirs = Note(tmp_path / "note", 4)
    ours.remove()
    assert note.read(tmp_path / "note") == []
    theirs.remove()
    assert not (tmp_path / "note").exists()


@pytest.mark.parametrize("content", [b"", b"x" * 7, struct.pack("<4i", 1, 4, 0, 0), struct.pack("<5i", 1, 4, 0, 0, 7)])
def test_a_damaged_note_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        note.read(tmp_path / "note")


def test_a_newer_note_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(struct.pack("<4i", 2, 0, 0, 0))
    with pytest.raises(NewerSchemaError, match="schema 2"):
        note.read(tmp_path / "note")
