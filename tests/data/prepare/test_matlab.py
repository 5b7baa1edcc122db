import base64
import itertools
import struct
import zlib
from functools import reduce

import pytest

from data.prepare.matlab import MOST_BYTES, structures
from tests.data.archives import entity, leaf, meta_mat

# written by scipy 1.17: a vector called `other`, two structures called `synsets`, both compressed; less the first line
SCIPY = base64.b64decode(
    "AAAAAAAAAAAAAUlNDwAAADAAAAB4nONjYGAIAGI2IOaA0iDACuUzAjEzlAaJ5ZdkpBYBaU4glmBABx/soQwHAIsEBDwPAAAAqQAAAHic42NgYOhg"
    "YmBgA9IcQAxkggErEp8RitmBuLgyrzi1pBgoz8LABxW3AGJPn+CwIGcjA0OjeE8XhnA/IAEHeaW58ckZmTkpRal5DAwIFgjwQfXD7GdDs58RCYMA"
    "J1QcChxA+h2Q9LNg0c+JpF8Ays8zMDQxMTA3M2GgijvA+g0I6GdA00+xvR79FPgfCAzNTQyo438Md2DTz4SmXwBJP5g8UeQAAGBXHHg="
)
ROWS = [leaf("n01440764", 300), entity(3), {**entity(4), "words": "café 猫", "num_children": 0.5}]


def read(row: dict[str, str | float]) -> dict[str, object]:
    return {key: value if isinstance(value, str) else (value,) for key, value in row.items()}


def test_what_another_program_wrote_is_read() -> None:
    content = b"MATLAB 5.0 MAT-file".ljust(116) + SCIPY
    assert structures(content, "synsets") == [
        {"ILSVRC2012_ID": (2.0,), "WNID": "n01440764", "num_children": (0.0,), "children": ()},
        {"ILSVRC2012_ID": (1001.0,), "WNID": "n00001740", "num_children": (2.0,), "children": (2.0, 300.5)},
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [True, False])
def test_text_and_numbers_come_back(order: str, compressed: bool) -> None:

    assert structures(meta_mat(ROWS, order, compressed), "synsets") == list(map(read, ROWS))


def test_another_name_is_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match="holds no array of structures called synsets"):
        structures(meta_mat(ROWS[1:], name="other"), "synsets")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_is_cut_is_refused_wherever_it_is(compressed: bool) -> None:
    whole = meta_mat([leaf("n01440764", 1)], compressed=compressed)
    for length in range(len(whole) - 1):
        with pytest.raises(ValueError, match=r"^(damaged|no MATLAB file|holds no array)"):
            structures(whole[:length], "synsets")


def packed(body: bytes) -> bytes:
    content = zlib.compress(body)
    return struct.pack("<II", 15, len(content)) + content


def test_a_small_file_unpacks_to_no_gigabyte() -> None:
    head = meta_mat(ROWS[1:])[:128]
    with pytest.raises(ValueError, match="does not unpack to at most 16,777,216 bytes"):
        structures(head + packed(bytes(MOST_BYTES + 1)), "synsets")
    with pytest.raises(ValueError, match="16,777,217 bytes, where 16,777,216 are plenty"):
        structures(bytes(MOST_BYTES + 1), "synsets")


def test_what_is_packed_a_thousand_times_is_not_unpacked_to_its_end() -> None:
    whole = meta_mat([leaf("n01440764", 1)], compressed=False)
    body = reduce(lambda content, _: packed(content), range(1100), whole[128:])
    with pytest.raises(ValueError, match="holds no array of structures"):
        structures(whole[:128] + body, "synsets")


def test_damage_gives_no_other_error() -> None:
    whole = meta_mat([leaf("n01440764", 1)], compressed=False)
    for place, change in itertools.product(range(128, len(whole)), [1, 8, 255]):
        try:
            structures(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :], "synsets")
        except ValueError as error:
            assert str(error)
