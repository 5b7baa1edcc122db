"""The bounds of pyproject.toml are those that were tried: .ci/constraints.txt and .ci/constraints-lowest.txt."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [Requirement(line) for line in [*PROJECT["dependencies"], *EXTRAS["cuda13"], *EXTRAS["export"]]]


def pins(file: str) -> dict[str, Version]:
    lines = [Requirement(line) for line in (ROOT / ".ci" / file).read_text().splitlines() if line[:1] not in ("", "#")]
    return {canonicalize_name(line.name): Version(str(line.specifier).removeprefix("==")) for line in lines}


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_a_lower_bound_is_the_lowest_that_was_tried(needed: Requirement) -> None:
    (bound,) = [Version(part.version) for part in needed.specifier if part.operator == ">="]
    assert pins("constraints-lowest.txt")[canonicalize_name(needed.name)] == bound


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_what_make_installs_lies_within_the_bounds(needed: Requirement) -> None:
    assert pins("constraints.txt")[canonicalize_name(needed.name)] in needed.specifier
