from collections.abc import Iterator
from typing import Any

import pytest

from data.plan.operations import POLICIES
from models.table import TABLE
from trainer import imports
from trainer.optim.config import LOSSES, OPTIMIZERS


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    tables: list[Any] = [TABLE, POLICIES, LOSSES, OPTIMIZERS, imports.LOADED]
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)
