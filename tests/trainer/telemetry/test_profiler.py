import gzip
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from tests.trainer.telemetry import watched
from trainer.telemetry.profiler import Profiler


@pytest.mark.parametrize(("left", "recorded"), [(20, 3), (15, 3), (8, 3), (3, 2), (2, 1)])
def test_a_run_of_few_steps_records_the_last_of_them(tmp_path: Path, left: int, recorded: int) -> None:
    with ExitStack() as stack:
        profiler = Profiler(watched.context(tmp_path, profile=3), left, stack)
        for _ in range(left):
            torch.linalg.vector_norm(torch.ones(8))
            profiler.step()
    (trace,) = (tmp_path / "profile").iterdir()
    names = [event.get("name") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]
    assert names.count("aten::linalg_vector_norm") == recorded


def test_a_run_that_asks_for_none_writes_none(tmp_path: Path) -> None:
    with ExitStack() as stack:
        Profiler(watched.context(tmp_path), 100, stack).step()
    assert not (tmp_path / "profile").exists()
