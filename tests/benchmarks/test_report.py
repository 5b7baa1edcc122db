import json
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.loaders import Figures, Row
from tests.benchmarks.loaders_config import BenchConfig


def row(name: str, cpu_ms: float | None, problem: str = "", rate: float = 1000) -> Row:
    figures = Figures(
        images_per_s=rate, cpu_ms=cpu_ms or 0, ratio=2.5, spread=(2.25, 2.75), of_floor=0.8, first_batch_s=1.25
    )
    facts = {"note": ""} if cpu_ms else {}
    return Row(name=name, what="what it is", figures=figures if cpu_ms else None, facts=facts, problem=problem)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_loader_s_line_holds_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("threads", 1.5), row("dali", None, "not installed: nvidia"), row("threads, shards", 0.75)]
    report.show_loaders(rows, {"cores": 2, "cpu": "Some CPU", "load_average": [0.25, 0, 0]})
    shown = lines(capsys)
    assert shown[0] == "2 cores, Some CPU, load average 0.2 before"
    assert "threads 1,000 1.50 2.50 2.25 to 2.75 80 % 1.2 s what it is" in shown
    assert "dali - - - - - - not installed: nvidia" in shown
    assert shown[-1] == "threads: from shards 2.00 times its rate from the image tree"


def test_scaling_is_told_from_few_threads_to_many(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_scaling([row("16", 2.0, rate=8000), row("2", 1.5, rate=2000), row("1", 1.5)])
    shown = [line for line in lines(capsys) if line[:1].isdigit()]
    assert shown == ["1 1,000 1.00 1.50", "2 2,000 2.00 1.50", "16 8,000 8.00 2.00"]


def test_the_parts_of_the_work_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_operators({"read": 0.25, "decode": 1.5, "the rest": 0.25})
    assert lines(capsys)[-5:-1] == ["read 0.250 12 %", "decode 1.500 75 %", "the rest 0.250 12 %", "all 2.000 100 %"]


def test_programs_get_everything_as_json(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    report.save(file, BenchConfig(), report.machine(), {"loaders": [row("threads", 1.5)]})
    saved = json.loads(file.read_text())
    assert saved["loaders"][0]["figures"]["spread"] == [2.25, 2.75]
    assert saved["options"]["contenders"][0] == "threads"
    assert {"cores", "cpu", "load_average", "python", "torch", "torchvision", "simplejpeg"} <= set(saved["machine"])
