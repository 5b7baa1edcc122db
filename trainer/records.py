"""Reads metrics.jsonl line by line, as there may be a million. Loads no torch."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from data import schema
from data.schema import NewerSchemaError
from trainer.recipe.decode import InvalidConfigError

SCHEMA = 1
"""In each `start` record: several versions may write to one run in turn."""

_log = logging.getLogger(__name__)


def lines(file: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines and their records, without a last line that a kill cut short, and without damaged ones (logged).

    Raises:
        InvalidConfigError: A newer version wrote it.
    """
    if not file.exists():
        return
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = schema.parse(line)
                schema.check(record.get("schema"), SCHEMA, file)
                record["kind"], record["step"] = str(record["kind"]), int(record["step"])
                yield line, record
            except NewerSchemaError as error:
                raise InvalidConfigError([str(error)]) from None
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
                _log.warning("%s: line %d is damaged and skipped: %r", file, number, error)


def check_schemas(file: Path) -> None:
    """Check the schemas of all `start` records.

    Raises:
        NewerSchemaError: A newer version wrote one.
    """
    for record in starts(file):
        schema.check(record.get("schema"), SCHEMA, file)


def starts(file: Path) -> Iterator[dict[str, Any]]:
    """The `start` records alone, without damaged ones; others are not parsed, which is much faster."""
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.startswith('{"kind": "start"'):
                with suppress(ValueError):
                    yield schema.parse(line)
