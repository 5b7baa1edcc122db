"""Hashes of a list that was made from headers: those of a whole scan, whatever interrupts them."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.catalog import shards, tree
from data.catalog.listing import Listing
from data.catalog.manifest import Manifest
from data.catalog.pack_record import PackOptions
from data.pack import pack
from data.verify import hashing, verify
from tests.data.making import varied_tree


class Interrupted(Exception):  # noqa: N818
    pass


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    """72 images, in three chunks."""
    train = varied_tree(tmp_path) / "train"
    for number in range(40):
        os.link(train / "a" / "00.JPEG", train / "a" / f"again {number}.JPEG")
    return tree.read(train).listing()


def by_headers(listing: Listing) -> Manifest:
    return verify.scan(listing, workers=1, whole=False).manifest


def test_the_hashes_and_the_fingerprint_are_those_of_a_whole_scan(listing: Listing, tmp_path: Path) -> None:
    images = by_headers(listing)
    done = hashing.hashed(images, tmp_path / "hashes", 1)
    whole = verify.scan(listing, workers=1).manifest
    assert np.array_equal(done.hashes, whole.hashes)
    assert done.fingerprint() == whole.fingerprint()
    done.save(tmp_path / "m.npz")
    assert np.load(tmp_path / "m.npz")["schema"] == 2


def test_images_that_do_not_decode_or_have_changed_stay_in_the_list_and_out_of_the_fingerprint(
    listing: Listing, tmp_path: Path
) -> None:
    images = by_headers(listing)
    for row in (56, 57, 58):
        images.path(row).write_bytes(content := images.path(row).read_bytes())
        os.truncate(images.path(row), len(content) - 100)
    cut = by_headers(listing)
    images.path(58).write_bytes(content + b"\0")  # other bytes than were listed, though they decode
    done, whole = hashing.hashed(cut, tmp_path / "hashes", 1), verify.scan(listing, workers=1).manifest
    assert (len(done), np.flatnonzero(~done.hashes.any(1)).tolist()) == (72, [56, 57, 58])
    images.path(58).unlink()
    without = verify.scan(tree.read(listing.root).listing(), workers=1).manifest
    assert (len(whole), done.fingerprint()) == (70, without.fingerprint())


def test_a_kill_loses_one_chunk_and_another_list_begins_anew(listing: Listing, tmp_path: Path) -> None:
    images, stored, seen = by_headers(listing), tmp_path / "hashes", list[tuple[int, int]]()

    def interrupt(*_: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        hashing.hashed(images, stored, 1, interrupt)
    with stored.open("ab") as file:
        file.write(b"cut short")
    images.path(1).write_bytes(b"not read again")
    again = hashing.hashed(images, stored, 1, lambda *counts: seen.append(counts))
    assert (seen, again.hashes.any(1).all()) == ([(64, 72), (72, 72)], True)
    other = images.take(np.arange(2, 72))
    assert np.array_equal(hashing.hashed(other, stored, 1).hashes, again.hashes[2:])


def test_images_in_archives_are_hashed_too(tmp_path: Path) -> None:
    pack.write(tree.read(varied_tree(tmp_path) / "train").listing(), tmp_path, "out", PackOptions(shard_images=12), 1)
    listing = shards.listing(tmp_path, "out")
    done = hashing.hashed(by_headers(listing), tmp_path / "hashes", 1)
    assert done.fingerprint() == verify.scan(listing, workers=1).manifest.fingerprint()
