import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from nvidia.dali.pipeline import Pipeline

from data.catalog.manifest import Manifest
from data.load import dali
from tests.data.load.loading import train_loader
from tests.data.making import picture, scanned


def test_a_dali_that_decodes_nothing_is_an_error_and_no_endless_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose libraries do not fit: here even the blank, for images that it is not to decode, is none."""
    (tmp_path / "train" / "a").mkdir(parents=True)
    for number in range(8):
        picture(40, 40, number).save(tmp_path / "train" / "a" / f"{number}.JPEG", "PNG")
    monkeypatch.setattr(dali, "BLANK", np.zeros(300, np.uint8))
    with closing(train_loader("dali", scanned(tmp_path))) as loader, pytest.raises(RuntimeError) as raised:
        list(loader.epoch(0))
    assert re.search("decode|image", str(raised.value), re.IGNORECASE)


@pytest.fixture
def tree(tmp_path: Path) -> Manifest:
    (tmp_path / "train" / "a").mkdir(parents=True)
    for number in range(8):
        picture(40, 40, number).save(tmp_path / "train" / "a" / f"{number}.JPEG")
    return scanned(tmp_path)


def test_what_is_no_image_s_fault_ends_the_run_at_once(tree: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU whose memory is full, which decoding by Pillow would hide, at the price of a pipeline for each batch."""
    message = "Error in MIXED operator `nvidia.dali.fn.decoders.image_slice`,\nencountered:\n\nCUDA allocation failed"
    runs = []

    def fail(*_: object) -> None:
        runs.append(1)
        raise RuntimeError(message)

    monkeypatch.setattr(Pipeline, "run", fail)
    with closing(train_loader("dali", tree)) as loader, pytest.raises(RuntimeError, match="CUDA allocation failed"):
        next(loader.epoch(0))
    assert len(runs) == 1


def test_each_new_start_of_dali_is_logged_and_counted(tree: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    content = tree.path(3).read_bytes()
    sound = content.index(b"\xff\xda") + 100  # into the scan: its header is in order
    tree.path(3).write_bytes(content[:sound].ljust(len(content), b"\0"))
    with closing(train_loader("dali", tree, max_broken=0.5)) as loader:
        batches = [*loader.epoch(0), *loader.epoch(1)]
    assert sum(batch.refusals for batch in batches) == 2
    assert all(bool(batch.refusals) == bool(batch.broken) for batch in batches)
    said = [record.getMessage() for record in caplog.records if "DALI could not decode a batch" in record.getMessage()]
    assert len(said) >= 2  # the loader runs ahead into a third epoch
    assert all("Failed to decode sample #" in line and "broken images are replaced" in line for line in said)
