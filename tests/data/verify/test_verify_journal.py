"""A scan that is stopped anywhere goes on from there."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog import tree
from data.catalog.listing import Listing
from data.verify import verify
from data.verify.scan_journal import HEAD, opened
from tests.limits import full_disk

IMAGES = 192


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.JPEG")
    return tree.read(tmp_path / "train").listing()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


class StoppedError(Exception):
    """What a caller's progress raises."""


def scan(listing: Listing, journal: Path | None, stop_at: int = IMAGES + 1, workers: int = 1) -> verify.Scan:
    def progress(done: int, total: int) -> None:
        assert total == IMAGES
        if done >= stop_at:
            raise StoppedError

    return verify.scan(listing, journal=journal, workers=workers, progress=progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_scan_goes_on_and_finds_the_same(listing: Listing, journal: Path, workers: int) -> None:
    whole = scan(listing, None)
    with pytest.raises(StoppedError):
        scan(listing, journal, stop_at=90, workers=workers)
    rest = scan(listing, journal)
    assert (whole.read, rest.read) == (IMAGES, IMAGES - 96)
    assert rest.manifest.fingerprint() == whole.manifest.fingerprint()
    assert (rest.manifest.widths.tolist(), rest.manifest.mtimes.tolist()) == (
        [4] * IMAGES,
        whole.manifest.mtimes.tolist(),
    )
    assert scan(listing, journal).read == 0


def test_a_file_that_changed_since_is_read_again(listing: Listing, journal: Path) -> None:
    with pytest.raises(StoppedError):
        scan(listing, journal, stop_at=96)
    Image.new("RGB", (7, 5)).save(listing.root / "a/010.JPEG")
    (listing.root / "a/020.JPEG").unlink()
    rest = scan(listing, journal)
    assert rest.read == IMAGES - 96 + 2
    assert (rest.manifest.widths[10], [image.name for image in rest.manifest.broken]) == (7, ["a/020.JPEG"])


def test_a_file_that_came_since_does_not_shift_the_others(listing: Listing, journal: Path) -> None:
    with pytest.raises(StoppedError):
        scan(listing, journal, stop_at=96)
    (listing.root / "a/191.JPEG").rename(listing.root / "a/000_.JPEG")
    rest = scan(tree.read(listing.root.parent / "train").listing(), journal)
    assert rest.read == IMAGES - 96
    assert rest.manifest.name(1) == "a/000_.JPEG"


@pytest.mark.parametrize("lost", [1, 20, 3000])
def test_a_torn_line_costs_no_more_than_its_chunk(listing: Listing, journal: Path, lost: int) -> None:
    with pytest.raises(StoppedError):
        scan(listing, journal, stop_at=96)
    os.truncate(journal, journal.stat().st_size - lost)
    with pytest.raises(StoppedError):
        scan(listing, journal, stop_at=128)
    assert 0 < scan(listing, journal).read < IMAGES - 64
    assert scan(listing, journal).read == 0


@pytest.mark.parametrize(
    "content", [b"", b"another file\n", HEAD[:10], HEAD, HEAD + b"[[1,2]]\n", HEAD + b"{}\n\0\0\0"]
)
def test_a_journal_of_no_use_is_begun_anew(listing: Listing, journal: Path, content: bytes) -> None:
    journal.write_bytes(content)
    assert scan(listing, journal).read == IMAGES
    assert scan(listing, journal).read == 0
    assert journal.read_bytes().startswith(HEAD)


def test_two_scans_do_not_share_a_journal(listing: Listing, journal: Path) -> None:
    with opened(journal), pytest.raises(OSError, match="another process is scanning these images"):
        scan(listing, journal)


def test_a_full_disk_is_told_with_the_journal_s_name_and_keeps_what_it_took(listing: Listing, journal: Path) -> None:
    with full_disk(7000), pytest.raises(OSError, match=f"File too large: '{journal}'"):
        scan(listing, journal)
    assert 0 < scan(listing, journal).read < IMAGES
