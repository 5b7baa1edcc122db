import os

import pytest

from data.names import cell, lines, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain é ü 日本 'quoted' back\\slash", "plain é ü 日本 'quoted' back\\slash"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("new\nline\r\ttab", "new\\nline\\r\\ttab"),
        ("C1 \x9b31m, back \x08", "C1 \\x9b31m, back \\x08"),
        (
            "turned \u202egpj.exe, \u2066isolated, \u2028next line",
            "turned \\u202egpj.exe, \\u2066isolated, \\u2028next line",
        ),
        ("half \ud800", "half \\ud800"),
        ("   ", "   "),
        ("", ""),
    ],
)
def test_a_name_acts_on_no_terminal(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(expected) == expected


def test_lines_stay_lines() -> None:
    assert lines("a\x1b[1A\nb\n") == "a\\x1b[1A\nb\n"


@pytest.mark.parametrize("start", [*"=+-@'\t\r"])
def test_a_spreadsheet_takes_no_name_for_a_formula(start: str) -> None:
    assert cell(f"{start}1+1") == "'" + shown(f"{start}1+1")


def test_other_names_are_cells_as_they_are() -> None:
    assert cell("n01440764 (tench)") == "n01440764 (tench)"
