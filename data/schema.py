"""What every reader of the project's files keeps to: see `trainer/FORMATS.md`. Standard library only.

A field that a reader does not know is passed over; whatever else changes raises the file's number, and a reader refuses
a number above its own.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

MEND = "use the version of Provenet that wrote it, or a newer one"


class NewerSchemaError(ValueError):
    """A file was written by a newer version; the message names it, and the mend."""


def check(found: object, known: int, file: Path) -> None:
    """Refuse a number above that which the reader knows.

    Raises:
        NewerSchemaError: The file is newer.
    """
    if isinstance(found, int) and found > known:
        raise NewerSchemaError(f"{file}: schema {found}, this version reads up to {known}; {MEND}")


def known_fields(kind: type, content: object) -> dict[str, Any]:
    """Those of a file's fields that a dataclass has.

    Raises:
        TypeError: The file does not hold fields at all.
    """
    if not isinstance(content, Mapping):
        raise TypeError("no fields")
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in content.items() if name in names}
