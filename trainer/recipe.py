"""Recipes on disk: YAML that states departures from the defaults."""

import re
from pathlib import Path
from typing import Any

import yaml

from trainer.config import Recipe
from trainer.decode import InvalidConfigError, decode, encode, suggest

FOLDER = Path(__file__).parent / "recipes"


def names() -> list[str]:
    """Recipes that come with the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: A name from `names()`, or the path of a YAML file, such as the `recipe.yaml` of a run directory.

    Raises:
        InvalidConfigError: There is no such recipe, or the file holds problems; all of them are listed.
    """
    file = _find(name)
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
        return decode(Recipe, {} if data is None else data)
    except InvalidConfigError as error:
        raise InvalidConfigError(f"{file}: {problem}" for problem in error.problems) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InvalidConfigError([f"{file}: not readable as YAML: {error}"]) from None


def dump(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML that `load` reads back to an equal one."""
    return yaml.safe_dump(encode(recipe), sort_keys=False, default_flow_style=None, width=100)


def _find(name: str) -> Path:
    named = FOLDER / f"{name}.yaml"
    if re.fullmatch(r"[\w.-]+", name) and named.is_file():
        return named
    if Path(name).is_file():
        return Path(name)
    looks_like_path = "/" in name or name.endswith((".yaml", ".yml"))
    hint = "; no such file" if looks_like_path else suggest(name, names()) or f"; known: {', '.join(names())}"
    raise InvalidConfigError([f"recipe: {name!r} is unknown{hint}"])


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars in place of PyYAML's 1.1, in which 1e-4 is text, 012 is ten and `no` is false.

    A key that stands twice is an error rather than a silent choice.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a dict, each key once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise InvalidConfigError([f"line {node.start_mark.line + 1}: {', '.join(twice)} stands twice"])
        return super().construct_mapping(node, deep)


_EXPONENT = r"[eE][-+]?[0-9]+"
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", [*"-+0123456789"]),
    ("float", rf"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:{_EXPONENT})?|[0-9]+{_EXPONENT})", [*"-+.0123456789"]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
)
for _name, _pattern, _first_characters in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first_characters)
