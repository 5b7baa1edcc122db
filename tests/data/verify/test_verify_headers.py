"""A scan of headers alone: the same facts as a whole one has, for images that can be decoded."""

import os
from pathlib import Path

import numpy as np

from data.catalog import tree
from data.verify import verify
from tests.data.making import varied_tree


def test_headers_say_what_a_loader_needs_and_damage_behind_them_is_left_to_it(tmp_path: Path) -> None:
    listing = tree.read(varied_tree(tmp_path) / "train").listing()
    whole, headers = (verify.scan(listing, workers=1, whole=each).manifest for each in (True, False))
    assert len(headers) == len(whole) == 32
    for name in ("widths", "heights", "formats", "modes", "sizes", "mtimes", "names", "ends"):
        assert np.array_equal(getattr(headers, name), getattr(whole, name)), name
    assert not headers.hashes.any()
    os.truncate(headers.path(0), int(headers.sizes[0]) - 100)
    os.truncate(headers.path(1), 10)
    again = verify.scan(listing, workers=1, whole=False).manifest
    assert (len(again), [image.name for image in again.broken]) == (31, [headers.name(1)])
