import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.types import BrokenImageError
from tests.data.making import scanned, varied_tree


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(varied_tree(tmp_path_factory.mktemp("images")))


def test_every_format_is_decoded_as_pillow_does(images: Manifest) -> None:
    source = Images(images)
    for index in range(len(images)):
        expected = np.asarray(Image.open(images.path(index)).convert("RGB"))
        assert np.array_equal(source.pixels(index), expected), images.path(index)
    assert {source.plain(index) for index in range(len(images))} == {True, False}


def test_a_file_with_bytes_between_its_parts_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    """Strict decoders refuse it."""
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(stream, "JPEG")
    content = stream.getvalue()
    (folder / "x.JPEG").write_bytes(content[:-2] + bytes(50) + content[-2:])
    expected = np.asarray(Image.open(folder / "x.JPEG").convert("RGB"))
    assert np.array_equal(Images(scanned(tmp_path)).pixels(0), expected)


def test_a_file_of_another_size_is_not_the_one_listed(tmp_path: Path) -> None:
    manifest = scanned(varied_tree(tmp_path))
    with manifest.path(2).open("ab") as file:
        file.write(b"more")
    with pytest.raises(BrokenImageError, match=r"bytes, [\d,]+ when it was listed"):
        Images(manifest).pixels(2)
