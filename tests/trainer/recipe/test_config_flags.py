import types
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from trainer.commands.cli import parse
from trainer.commands.train import Train
from trainer.recipe.config import SiteConfig, flags

PLACE: dict[str, Any] = {"data": Path('/it\'s $(here) "x"'), "output": Path("/runs/-dash ü")}
FIELDS = [field for field in fields(SiteConfig) if field.name not in PLACE]


def departure(field: Field[Any]) -> Any:
    """A value of a field's type that is not its default."""
    kind = get_type_hints(SiteConfig)[field.name]
    if get_origin(kind) is types.UnionType or "Union" in str(get_origin(kind)):
        (kind,) = (member for member in get_args(kind) if member is not type(None))
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != field.default)
    if get_origin(kind) is tuple:
        return get_args(get_args(kind)[0])[:2]
    return {bool: not field.default, int: 7, float: 1e-05, str: 'it\'s "x"', Path: Path("/a b")}[kind]


DEPARTURES: dict[str, Any] = {field.name: departure(field) for field in FIELDS}


def parsed(site: SiteConfig) -> SiteConfig:
    command = parse(["train", "demo", *flags(site)])
    assert isinstance(command, Train)
    return command.site


@pytest.mark.parametrize("name", DEPARTURES)
def test_a_setting_comes_back_through_the_trainers_own_flags(name: str) -> None:
    site = SiteConfig(**PLACE, **{name: DEPARTURES[name]})
    assert getattr(site, name) != next(field.default for field in FIELDS if field.name == name)
    assert parsed(site) == site


def test_all_settings_together_come_back() -> None:
    assert parsed(SiteConfig(**PLACE, **DEPARTURES)) == SiteConfig(**PLACE, **DEPARTURES)


def test_a_default_needs_no_flag() -> None:
    assert flags(SiteConfig(**PLACE)) == ("--data", str(PLACE["data"]), "--output", str(PLACE["output"]))
    assert all(field.default is not MISSING for field in FIELDS)
