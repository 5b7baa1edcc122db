"""What watches a run: it sees what there is, and changes nothing."""

import gzip
import json
from pathlib import Path

import pytest

from tests.system.running import points, records, same_bits, state, train

pytestmark = pytest.mark.slow


def test_a_profiled_run_of_two_processes_ends_with_the_same_bits(
    images: Path, whole_pair: Path, tmp_path: Path
) -> None:
    train(images, tmp_path, "--profile", "3", launcher="torchrun x2")
    assert same_bits(state(tmp_path), state(whole_pair))
    assert points(tmp_path) == points(whole_pair)
    traces = sorted((tmp_path / "profile").iterdir())
    assert [trace.name.partition(".")[0] for trace in traces] == ["rank0", "rank1"]
    for trace in traces:
        assert trace.name.endswith(".pt.trace.json.gz")
        names = [event.get("name", "") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]
        assert names.count("Optimizer.step#SGD.step") == 3
        assert any("conv2d" in name for name in names)


def test_the_time_of_two_processes_has_an_all_reduce_in_it(whole: Path, whole_pair: Path) -> None:
    alone, together = ([r for r in records(run) if r["kind"] == "train"] for run in (whole, whole_pair))
    assert all(record["all_reduce"] == 0 for record in alone)
    assert all(record["all_reduce"] > 0 for record in together)
    for record in together:
        phases = ("data_wait", "forward", "backward", "all_reduce", "optimizer", "checkpoint", "other")
        assert abs(sum(record[phase] for phase in phases) - 1) < 0.001
