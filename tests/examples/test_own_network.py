"""The example of a network and a loss of one's own in our engine: a run like any other."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.commands import HANGS_S
from tests.system import forks
from trainer.exits import BAD_INPUT
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory
from trainer.stopping import START_AGAIN

EXAMPLE = Path(__file__).with_name("own_network.py")


def start(images: Path, run: Path) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "tests.examples.own_network", str(images), str(run))
    return forks.begin(command, {**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_it_stops_at_a_signal_goes_on_and_leaves_the_run_directory_of_any_run(images: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    stopped = start(images, run.path)
    assert stopped.stdout
    next(line for line in stopped.stdout if line.startswith("epoch 1: "))
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=HANGS_S)
    assert (stopped.returncode, output.splitlines()[-1]) == (
        START_AGAIN,
        f"stopped and saved; the same call goes on in {run.path}",
    )
    assert run.finished() is None

    again = start(images, run.path)
    output, _ = again.communicate(timeout=HANGS_S)
    assert again.returncode == 0, output
    assert "going on after step" in output
    assert output.splitlines()[-1].startswith("top-1 ")
    assert (run.finished() or {})["model"] == "small"
    assert all(file.exists() for file in (run.weights, run.report, run.page, run.curves))

    sha256 = hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert load(str(run.recipe)).code == (sha256,)
    assert run.path.joinpath(f"code-{sha256}.py").read_bytes() == EXAMPLE.read_bytes()

    nowhere = start(tmp_path / "nowhere", run.path)
    output, _ = nowhere.communicate(timeout=HANGS_S)
    assert (nowhere.returncode, "nowhere does not exist" in output) == (BAD_INPUT, True)
