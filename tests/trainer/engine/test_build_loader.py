import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data.types import Backend
from tests.data.making import imagined
from trainer.console import Console
from trainer.context import RunContext
from trainer.engine.build import chosen_loader
from trainer.recipe.config import Recipe, SiteConfig
from trainer.records import SCHEMA
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.world import World

IMAGES = imagined(np.full(4, 32), np.full(4, 32))


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("starts", "wanted", "expected"),
    [
        ([], None, ("threads", "the fastest on CPUs")),
        (["dali", "threads"], None, ("dali", "as the run began")),
        (["dali"], "dali", ("dali", "as asked for")),
        (["dali"], "threads", ("threads", "as asked for; the run began with dali, whose pixels differ by rounding")),
        ([None], None, ("threads", "the fastest on CPUs")),
    ],
)
def test_a_run_keeps_the_loader_of_its_first_start(
    starts: list[str | None], wanted: Backend | None, expected: tuple[str, str], tmp_path: Path, runtime: Runtime
) -> None:
    records = [{"kind": "start", "step": 0, "schema": SCHEMA, "loader": loader} for loader in starts]
    RunDirectory(tmp_path).metrics.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    site = SiteConfig(data=tmp_path, output=tmp_path, loader=wanted)
    context = RunContext(recipe=Recipe(), site=site, runtime=runtime, stop=StopFlag(), console=Console())
    chosen = chosen_loader(context, IMAGES)
    assert (chosen.backend, chosen.reason) == expected
