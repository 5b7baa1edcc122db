"""What a launch leaves behind that is killed itself: nothing that trains on, where `cancel` cannot reach it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import attempts, launcher
from launch.submission import LaunchFolder
from tests.launch.test_launcher import launched, stopped, wait_for, worker
from trainer.exits import EXIT_CODE_VARIABLE

# as submitit's controller, which is the process that a local job is known by
CONTROLLER = """
import os, subprocess, sys
supervisor = '''
import sys
from pathlib import Path
from launch.site import ClusterConfig
from launch.supervise import supervise
sleeping = (sys.executable, "-c", "import pathlib, time; pathlib.Path('ready-0').touch(); time.sleep(60)")
supervise(Path("run"), sleeping, ClusterConfig(cluster="local"))
'''
subprocess.run([sys.executable, "-c", supervisor])
"""


def test_processes_save_when_the_launch_that_started_theirs_is_killed(tmp_path: Path) -> None:
    with launched(tmp_path, worker(tmp_path)) as process:
        wait_for(tmp_path / "ready-0")
        process.kill()
        wait_for(tmp_path / "saved-0")


def test_a_local_job_whose_controller_is_killed_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "run" / "launch").mkdir(parents=True)
    own = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", CONTROLLER]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **own}, stderr=subprocess.PIPE) as controller:
        wait_for(tmp_path / "ready-0")
        controller.send_signal(signal.SIGKILL)
        controller.communicate()  # until the job's process has ended too
    (attempt,) = attempts.read(LaunchFolder(tmp_path / "run").attempts)
    assert attempt.end
    assert (attempt.end.then, attempt.end.why) == ("stopped", "a signal ended it at step 0")


def test_srun_is_left_time_to_kill_its_tasks_or_they_would_keep_their_nodes(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\ntrap '' USR2\ntrap 'touch forced; exit 143' TERM\ntouch ready\nsleep 60 & wait; wait\n")
    srun.chmod(0o755)
    with launched(tmp_path, [str(srun)], grace_s=1) as process:
        wait_for(tmp_path / "ready")
        stopped(process, signal.SIGINT)
    assert (tmp_path / "forced").exists()


@pytest.mark.parametrize("spoil", ["rm", "printf '\\377' >"])
@pytest.mark.parametrize("code", [0, 5])
def test_without_the_trainers_code_the_commands_counts(spoil: str, code: int) -> None:
    """As where /tmp is cleaned of old files while a run takes weeks."""
    command = f'{spoil} "${EXIT_CODE_VARIABLE}"; exit {code}'
    assert launcher.run(("sh", "-c", command), 1).code == code
