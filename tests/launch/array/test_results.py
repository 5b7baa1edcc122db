import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.array import results
from launch.array.sweep import Member
from launch.submission import LaunchFolder
from tests.commands import HANGS_S
from tests.launch import stand_ins

MEMBERS = [
    Member(name=f"lr={lr},seed={seed}", settings={"optimizer.lr": lr, "seed": seed})
    for lr in (0.1, 0.2)
    for seed in (0, 1, 2)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LaunchFolder(tmp_path).make()
    for seed, (top1, top5) in enumerate([(70.0, 90.0), (71.0, 90.0), (73.5, 93.0)]):
        stand_ins.finish(tmp_path / f"lr=0.1,seed={seed}", top1, top5)
    return tmp_path


def test_mean_and_sample_deviation_over_seeds_are_those_by_hand(root: Path) -> None:
    # 71.5; squares 2.25 + 0.25 + 4, over 2: sqrt(3.25) = 1.803. 91; 1 + 1 + 4 over 2: sqrt(3) = 1.732
    (first, second), _ = results.summarize(root, MEMBERS)
    assert first == ("optimizer.lr 0.1", "3 of 3", "71.50 +- 1.80", "91.00 +- 1.73")
    assert second == ("optimizer.lr 0.2", "0 of 3", "", "")


def test_one_run_has_no_spread(root: Path) -> None:
    stand_ins.finish(root / "lr=0.2,seed=1", 50.0, 80.0)
    assert results.summarize(root, MEMBERS)[0][1] == ("optimizer.lr 0.2", "1 of 3", "50.00", "80.00")


def test_the_table_is_written_beside_the_runs_and_follows(root: Path) -> None:
    results.keep(root, MEMBERS)
    stand_ins.finish(root / "lr=0.2,seed=0", 60.0, protocol="other crop")
    results.refresh(root)
    assert (root / "summary.md").read_text() == (
        "| settings | runs | top-1, % | top-5, % |\n"
        "| --- | --- | --- | --- |\n"
        "| optimizer.lr 0.1 | 3 of 3 | 71.50 +- 1.80 | 91.00 +- 1.73 |\n"
        "| optimizer.lr 0.2 | 1 of 3 | 60.00 | 90.00 |\n\n"
        "mean +- standard deviation over seeds; center crop / other crop\n"
    )


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    rows, note = results.summarize(tmp_path, [Member(name="seed=0", settings={"seed": 0})])
    assert rows == [("recipe", "0 of 1", "", "")]
    assert note.endswith("nothing has finished yet")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"seed": 1}, "recipe"),
        ({"model.name": "resnet50", "ema": None}, "model.name resnet50, ema null"),
        ({"optimizer": {"name": "sgd", "lr": 0.1}, "seed": 2}, 'optimizer {"name": "sgd", "lr": 0.1}'),
    ],
)
def test_a_row_names_all_but_the_seed(tmp_path: Path, settings: dict[str, object], expected: str) -> None:
    assert results.summarize(tmp_path, [Member(name="x", settings=settings)])[0][0][0] == expected


def test_one_run_at_a_time_writes_the_table(tmp_path: Path) -> None:
    with (tmp_path / "sweep.lock").open("w") as other, results._locked(tmp_path / "sweep.json"):  # noqa: SIM117
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_runs_that_finish_together_all_stand_in_the_table(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from launch.array import results; from tests.launch import stand_ins\n"
        "root, name = Path(sys.argv[1]), sys.argv[2]; input(); stand_ins.finish(root / name, 60); results.refresh(root)"
    )
    results.keep(root, MEMBERS)
    command, place = [sys.executable, "-c", code, str(root)], Path(__file__).parents[3]
    finishing = [
        subprocess.Popen([*command, member.name], stdin=subprocess.PIPE, cwd=place, env=os.environ)
        for member in MEMBERS[3:]
    ]
    for process in finishing:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait(timeout=HANGS_S) for process in finishing] == [0, 0, 0]
    assert "| optimizer.lr 0.2 | 3 of 3 | 60.00 +- 0.00 |" in (root / "summary.md").read_text()
    assert json.loads((root / "launch" / "sweep.json").read_text())[0]["name"] == "lr=0.1,seed=0"
