import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

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
