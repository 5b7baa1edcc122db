from dataclasses import dataclass
from pathlib import Path

import pytest

from data import schema
from data.schema import NewerSchemaError


@dataclass
class Kind:
    step: int


@pytest.mark.parametrize("found", [1, 2, None, "3", 2.5])
def test_what_is_not_above_the_reader_s_number_is_read(found: object) -> None:
    schema.check(found, 2, Path("f"))


def test_a_newer_file_is_refused_by_its_name_and_with_the_mend() -> None:
    with pytest.raises(NewerSchemaError, match=r"^runs/a/f: schema 3, this version reads up to 2; use the version of"):
        schema.check(3, 2, Path("runs/a/f"))


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert Kind(**schema.known_fields(Kind, {"step": 1, "colour": "red"})) == Kind(1)


@pytest.mark.parametrize("content", [None, 1, "text", [1]])
def test_what_holds_no_fields_is_refused(content: object) -> None:
    with pytest.raises(TypeError):
        schema.known_fields(Kind, content)


def test_json_that_python_cannot_read_is_damaged() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        schema.parse('{"a":' * 100_000)


def test_a_reason_is_no_advice_to_trust_a_file() -> None:
    numpys = "This file contains pickled (object) data. If you trust the file you can load it unsafely"
    assert schema.reason(ValueError(numpys)) == "This file contains pickled (object) data"
    assert schema.reason(ValueError("a/.. leads out\nat length")) == "a/.. leads out"
    assert schema.reason(MemoryError()) == "MemoryError"
