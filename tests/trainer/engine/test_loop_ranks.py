"""What all ranks agree on while they train: when to stop, save and end. Real processes, over gloo."""

import json
import os
import random
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.trainer.ranks import STEPS, End, Scenario, saved
from trainer.engine.stragglers import SLOW
from trainer.exits import ABORTED, FAILED
from trainer.rundir import RunDirectory

pytestmark = pytest.mark.slow

STOPS = {
    "between": random.Random(0).randrange(2 * STEPS, 3 * STEPS - 2),  # in the third epoch
    "before an epoch's last step": STEPS - 2,
    "in an epoch's last step": STEPS - 1,
}

Ends = dict[str, tuple[Scenario, list[End]]]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """All scenarios, with the ends of their ranks: one after the other, in ranks of processes that load torch once."""
    root = tmp_path_factory.mktemp("ranks")
    given = {
        **{when: {"world_size": 3, "rank": 2, "step": step, "what": "stop"} for when, step in STOPS.items()},
        "two ranks": {"world_size": 2, "rank": 1, "step": STOPS["between"], "what": "stop"},
        "saves": {"world_size": 2, "rank": 1, "step": 14, "what": "stop", "save_steps": 4},
        "kill": {"world_size": 3, "rank": 2, "step": 8, "what": "kill"},
        "fail": {"world_size": 2, "rank": 1, "step": 8, "what": "fail"},
        "hang": {"world_size": 3, "rank": 2, "step": 8, "what": "hang"},
        "slow": {"world_size": 2, "rank": 1, "step": 5 * STEPS, "what": "slow"},
        "wait": {"world_size": 2, "rank": 0, "step": 8, "what": "wait"},
        "full": {"world_size": 3, "rank": 0, "step": 0, "what": "full", "save_steps": 2},
    }
    scenarios: dict[str, Scenario] = {}
    for name, fields in given.items():
        (root / name).mkdir()
        scenarios[name] = Scenario(folder=str(root / name), **fields)  # pyright: ignore[reportArgumentType]
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainer.ranks", *(json.dumps(asdict(one)) for one in scenarios.values())],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (root / "stderr").write_text(done.stderr)
    (root / "stdout").write_text(done.stdout)
    said = done.stdout.splitlines()[-1]  # behind what the ranks say
    found = [[End(**end) for end in one] for one in json.loads(said)]
    return dict(zip(scenarios, zip(scenarios.values(), found, strict=True), strict=True))


@pytest.mark.parametrize("name", [*STOPS, "two ranks"])
def test_all_ranks_stop_at_the_same_step_at_most_one_after_the_signal_s(ends: Ends, name: str) -> None:
    """The vote on a step is cast before it; the end of an epoch has one of its own, whose answer is waited for."""
    one, found = ends[name]
    last = one.step + 1 if one.step == STEPS - 1 else one.step + 2
    assert found == [End(code=0, step=last)] * one.world_size
    assert saved(Path(one.folder))[-1] == last


def test_checkpoints_are_saved_at_their_steps_and_at_ends_of_epochs(ends: Ends) -> None:
    one, found = ends["saves"]
    assert found == [End(code=0, step=16)] * 2
    assert saved(Path(one.folder)) == [4, 6, 8, 12, 16]


@pytest.mark.parametrize(("name", "code"), [("kill", -9), ("fail", ABORTED), ("hang", -9)])
def test_ranks_that_lose_one_end_so_that_the_run_is_started_again(ends: Ends, name: str, code: int) -> None:
    *others, struck = ends[name][1]
    assert struck.code == code
    assert {end.code for end in others} == {ABORTED}


def test_all_ranks_end_at_the_same_step_where_rank_0_cannot_save(ends: Ends) -> None:
    found = ends["full"][1]
    assert [end.code for end in found] == [FAILED] * 3
    assert len({end.step for end in found}) == 1


def test_a_rank_that_hangs_is_named_when_the_others_wait_and_as_the_reason_of_their_end(ends: Ends) -> None:
    said = (Path(ends["hang"][0].folder).parent / "stderr").read_text()
    waited = r"{} processes have waited \d+ s for rank 2 \(process \d+ on \S+\)"
    assert re.search(rf"^{waited.format('2 of 3')}$", said, re.MULTILINE)
    waited = waited.format("(2 of 3|1 of 2)")  # the latter where rank 1 has ended a moment before
    assert re.search(rf"^rank 0 lost contact with another process: .*[Tt]ime.*; {waited}$", said, re.MULTILINE)


def test_a_rank_for_which_others_wait_shows_where_it_is(ends: Ends) -> None:
    one, found = ends["wait"]
    assert [end.code for end in found] == [0, 0]  # the run goes on
    said = (Path(one.folder).parent / "stderr").read_text()
    assert re.search(r"^1 of 2 processes have waited \d+ s for rank 0 \(process \d+ on \S+\)$", said, re.MULTILINE)
    assert re.search(r"^the other processes wait for rank 0, which is at:(\n.*)+? in strike\n", said, re.MULTILINE)
    assert not list(Path(one.folder).glob("run/at_work/*"))


def test_a_rank_that_is_slower_for_long_is_named(ends: Ends) -> None:
    one, _ = ends["slow"]
    said = r"rank 1 \(process \d+ on \S+\) works (\S+) times as long in each step as the median process; "
    (ratio,) = re.findall(said, (Path(one.folder).parent / "stdout").read_text())
    assert float(ratio) >= SLOW
    trained = [record for record in RunDirectory(Path(one.folder, "run")).records() if record["kind"] == "train"]
    assert "slowest_rank" not in trained[0]  # nothing is measured yet
    assert trained[-1]["slowest_rank"] == 1
    assert trained[-1]["slow_points"] >= 3
