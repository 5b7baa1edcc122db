"""Rules for readers of the project's files, see `trainer/FORMATS.md`. Standard library only.

A reader ignores fields that it does not know. Any other change of a format raises the schema number in the file, and a
reader refuses a number above its own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

REMEDY = "use the version of Provenet that wrote it, or a newer one"


class NewerSchemaError(ValueError):
    """A newer version wrote a file; the message names it, and the remedy."""


def parse(text: str | bytes) -> Any:
    """The content of a JSON file that anyone may have written.

    Raises:
        ValueError: It is no JSON, or nested so deeply that Python cannot read it.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def reason(error: Exception) -> str:
    """The first sentence of an error: what numpy and torch say after it is how to run what a file holds."""
    return re.split(r"\. (?=[A-Z])|\n", str(error) or type(error).__name__)[0]


def check(number: object, known: int, file: Path) -> None:
    """Refuse a schema number above the highest that the reader knows.

    Raises:
        NewerSchemaError: It is above.
    """
    if isinstance(number, int) and number > known:
        raise NewerSchemaError(f"{file}: schema {number}, this version reads up to {known}; {REMEDY}")


def known_fields(kind: type, content: object) -> dict[str, Any]:
    """The fields of a file that a dataclass has too.

    Raises:
        TypeError: `content` is no mapping.
    """
    if not isinstance(content, Mapping):
        raise TypeError("no fields")
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in content.items() if name in names}
