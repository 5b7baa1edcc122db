import logging

import pytest

from data.load.loader import Tolerance
from data.types import BrokenImage, TooManyBrokenError


def images(*names: str) -> list[BrokenImage]:
    return [BrokenImage(name, "gone") for name in names]


def test_as_many_images_may_break_as_the_share_says_and_each_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tolerance = Tolerance(0.02, 100)
    with caplog.at_level(logging.WARNING):
        tolerance.count(images("a", "b", "a"))
        tolerance.count(images("b"))
        tolerance.count([])
    assert [record.message for record in caplog.records] == [
        "broken since it was listed, and skipped: a: gone",
        "broken since it was listed, and skipped: b: gone",
    ]
    with pytest.raises(TooManyBrokenError, match=r"3 of 100 images broke .* the last: c: gone\n  2.000% may break"):
        tolerance.count(images("c"))


def test_without_tolerance_the_first_ends_it() -> None:
    with pytest.raises(TooManyBrokenError, match="1 of 5 images"):
        Tolerance(0.0, 5).count(images("a"))
