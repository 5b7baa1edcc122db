"""What a launch leaves behind that is killed itself: nothing that trains on, where `cancel` cannot reach it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from launch import attempts
from launch.submission import LaunchFolder
from tests.launch.test_launcher import launched, wait_for, worker

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
