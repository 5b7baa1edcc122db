"""A run on a real Slurm cluster that is disturbed in every way ends as one that was not: `make drill`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HANGS_S
from tests.system.drill.disturbances import DISTURBANCES
from tests.system.running import curves

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a drill with all disturbances."""
    output = tmp_path_factory.mktemp("drill")
    command = [sys.executable, "-m", "tests.system.drill", "demo", "--model.name", "resnet20", "--output", str(output)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3 * HANGS_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture(scope="module")
def outcomes(output: Path) -> dict[str, dict[str, Any]]:
    """What the drill's table says of each disturbance."""
    return {outcome["name"]: outcome for outcome in json.loads((output / "drill.json").read_text())}


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbed_run_ends_with_the_same_bits_and_points(
    name: str, outcomes: dict[str, dict[str, Any]], output: Path
) -> None:
    outcome = outcomes[name]
    assert outcome["difference"] is None
    assert outcome["attempts"] >= (3 if name == "killed-in-save" else 2)
    assert curves(output / name) == curves(output / "undisturbed")


@pytest.mark.parametrize("name", ["time-limit", "preemption", "requeue"])
def test_a_run_that_is_asked_to_stop_trains_no_step_again(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes[name]["steps_again"] == 0
