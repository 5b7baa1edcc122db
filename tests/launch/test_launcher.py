import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.launcher import environment
from tests import commands
from tests.launch import stand_ins

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

# stands in for the trainer: waits for a signal, takes a while to save, and ends with a code
WORKER = """
import os, signal, sys, time
from pathlib import Path
from trainer.exits import begun, record
begun()
save_s, code = float(sys.argv[1]), int(sys.argv[2])
rank, heard = os.environ.get("RANK", "0"), []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: heard.append(signal.Signals(number).name))
Path(f"ready-{rank}").touch()
size = int(os.environ.get("WORLD_SIZE", "1"))
# torchrun ends a process that has no handlers yet as soon as the other has failed
while not all(Path(f"ready-{each}").exists() for each in range(size)) or (not heard and code == 75):
    time.sleep(0.02)
time.sleep(save_s)
Path(f"saved-{rank}").write_text(" ".join(heard))
record(code)
sys.exit(code)
"""

LAUNCHERS = {
    "python": [sys.executable],
    "torchrun": [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2"],
    "accelerate x2": [
        *(str(BIN / "accelerate"), "launch", "--quiet", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    ],
    "accelerate": [
        *(str(BIN / "accelerate"), "launch", "--quiet", "--cpu", "--num_processes", "1", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),
    ],
}


def worker(folder: Path, launcher: str = "python", save_s: float = 0, code: int = 75) -> list[str]:
    (folder / "worker.py").write_text(WORKER)
    return [*LAUNCHERS[launcher], "worker.py", str(save_s), str(code)]


@contextmanager
def launched(
    folder: Path, command: list[str], *, grace_s: int = 20, variables: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "launch", "run", "--grace-s", str(grace_s), "--", *command]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "TORCH"))}
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup ignores for all below it
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.send_signal(signal.SIGTERM)


def wait_for(*files: Path) -> None:
    end = time.monotonic() + commands.HANGS_S
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, "the processes did not start"
        time.sleep(0.02)


def lives(pid: str) -> bool:
    """Whether a process is there, and not only its exit code, which waits for a parent."""
    try:
        return bool(Path("/proc", pid, "cmdline").read_bytes())
    except OSError:
        return False


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Exit code and errors of a launch that is sent a signal."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=commands.HANGS_S)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("launcher", "number", "heard"),
    [
        ("torchrun", signal.SIGTERM, "SIGTERM"),
        ("torchrun", signal.SIGUSR2, "SIGUSR2"),
        ("accelerate x2", signal.SIGUSR2, "SIGUSR2"),
        ("accelerate", signal.SIGINT, "SIGTERM"),
        ("python", signal.SIGHUP, "SIGTERM"),
    ],
)
def test_a_stop_reaches_every_process_once_and_its_code_comes_through(
    tmp_path: Path, launcher: str, number: signal.Signals, heard: str
) -> None:
    ranks = "01" if launcher in ("torchrun", "accelerate x2") else "0"
    with launched(tmp_path, worker(tmp_path, launcher, save_s=0.5)) as process:
        wait_for(*(tmp_path / f"ready-{rank}" for rank in ranks))
        code, errors = stopped(process, number)
    assert f"launch: {number.name}: 20 s to save and end" in errors
    assert code == 75
    assert [(tmp_path / f"saved-{rank}").read_text() for rank in ranks] == [heard] * len(ranks)


@pytest.mark.parametrize(("users", "saves"), [({}, True), ({"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "1"}, False)])
def test_torchrun_leaves_the_time_that_it_is_told(tmp_path: Path, users: dict[str, str], saves: bool) -> None:
    with launched(tmp_path, worker(tmp_path, "torchrun", save_s=3), variables=users) as process:
        wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
        code, _ = stopped(process, signal.SIGTERM)
    assert (tmp_path / "saved-0").exists() == saves
    assert code == 75  # also where it was killed: what stood before goes on


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_code_of_torchruns_processes_comes_through(tmp_path: Path, code: int) -> None:
    with launched(tmp_path, worker(tmp_path, "torchrun", code=code)) as process:
        process.communicate(timeout=commands.HANGS_S)
    assert process.returncode == code


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -KILL $$", 137),
        ("printf 75 > $PROVENET_EXIT_CODE; exit 1", 75),
        ("printf 130 > $PROVENET_EXIT_CODE; exit 1", 130),
        ("printf 2 > $PROVENET_EXIT_CODE; kill -TERM $$", 2),
        ("printf 75 > $PROVENET_EXIT_CODE; exit 0", 0),
        ("printf 0 > $PROVENET_EXIT_CODE; exit 3", 3),
        ("printf damaged > $PROVENET_EXIT_CODE; exit 3", 3),
        ("printf 0 > $PROVENET_EXIT_CODE; kill -USR2 $PPID; sleep 60", 75),
        ("printf begun > $PROVENET_EXIT_CODE; exit 1", 70),
        ("printf begun > $PROVENET_EXIT_CODE; exit 0", 0),
        ("printf begun > $PROVENET_EXIT_CODE; kill -KILL $$", 137),
        ("printf begun > $PROVENET_EXIT_CODE; exit 134", 134),
    ],
)
def test_the_trainers_code_counts_before_the_launchers(script: str, expected: int) -> None:
    assert commands.run("launch", "run", "--", "sh", "-c", script).returncode == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", 0),
        ("printf 0 > $PROVENET_EXIT_CODE", 0),
        ("printf begun > $PROVENET_EXIT_CODE", 70),
        ("printf 75 > $PROVENET_EXIT_CODE", 75),
        ("printf begun > $PROVENET_EXIT_CODE; kill -TERM $PPID", 75),
        ("kill -TERM $PPID", 75),
        (
            "printf begun > $PROVENET_EXIT_CODE; (trap '' TERM; sleep 0.5; printf 75 > $PROVENET_EXIT_CODE) &",
            75,
        ),
    ],
)
def test_a_trainer_that_srun_says_has_finished_may_not_have(script: str, expected: int, tmp_path: Path) -> None:
    """As srun does where Slurm ends its tasks, whose trainers may still be saving in a container."""
    stand_ins.slurm(tmp_path, srun=script)
    assert commands.run("launch", "run", "--", str(tmp_path / "srun")).returncode == expected


@pytest.mark.parametrize(("begins", "expected"), [("begun()", 70), ("", 1)])
def test_a_process_that_was_aborted_after_it_began_broke_off(tmp_path: Path, begins: str, expected: int) -> None:
    """As NCCL's watchdog aborts the ranks that wait for one that failed: torchrun says 1, and no rank says more."""
    (tmp_path / "worker.py").write_text(f"""
import os, sys, time
from pathlib import Path
from trainer.exits import begun, record
{begins}
if os.environ["RANK"] == "0":
    Path("waits").touch()
    time.sleep(600)
while not Path("waits").exists():
    time.sleep(0.02)
record(70)  # of a rank that is not the first on its machine: nobody sees it
os.abort()
""")
    with launched(tmp_path, [*LAUNCHERS["torchrun"], "worker.py"]) as process:
        process.communicate(timeout=commands.HANGS_S)
    assert process.returncode == expected


def test_words_of_the_command_stay_as_they_are() -> None:
    words = ("--num_processes", "2", "--num-processes", "--", "-h", "--grace-s")
    assert commands.run("launch", "run", "--grace-s", "9", "--", "echo", *words).stdout == f"{' '.join(words)}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND: missing; it comes last, after --"),
        (["--"], "COMMAND: missing"),
        (["--grace-s", "0", "--", "true"], "--grace-s: 0; must be at least 1"),
        (["--", "no-such-launcher"], "COMMAND: no-such-launcher: No such file or directory"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: list[str], expected: str) -> None:
    done = commands.run("launch", "run", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr


def test_what_ignores_a_stop_is_killed_after_the_grace_time_in_whatever_session(tmp_path: Path) -> None:
    script = "trap '' TERM; setsid sh -c 'echo $$ > inner; exec sleep 3600' & touch ready; wait; sleep 3600"
    with launched(tmp_path, ["sh", "-c", script], grace_s=1) as process:
        wait_for(tmp_path / "ready", tmp_path / "inner")
        start = time.monotonic()
        code, errors = stopped(process, signal.SIGTERM)
    assert code == 137
    assert 1 <= time.monotonic() - start < commands.HANGS_S
    assert "still running: killed" in errors
    assert not lives((tmp_path / "inner").read_text().strip())


def test_processes_that_a_killed_launcher_left_behind_save_first(tmp_path: Path) -> None:
    script = f"setsid {' '.join(worker(tmp_path, save_s=0.5))} & echo $$ > launcher; wait"
    with launched(tmp_path, ["sh", "-c", script]) as process:
        wait_for(tmp_path / "ready-0")
        os.kill(int((tmp_path / "launcher").read_text()), signal.SIGKILL)
        _, errors = process.communicate(timeout=commands.HANGS_S)
    assert "some of its processes still run" in errors
    assert process.returncode == 75
    assert (tmp_path / "saved-0").read_text() == "SIGTERM"


def test_ctrl_c_at_a_terminal_arrives_once(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "launch", "run", "--", *worker(tmp_path, save_s=0.5)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["setsid", "--ctty", *command], cwd=tmp_path, env=variables, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        wait_for(tmp_path / "ready-0")
        os.write(master, b"\x03")
        assert process.wait(timeout=commands.HANGS_S) == 75
    os.close(slave)
    os.close(master)
    assert (tmp_path / "saved-0").read_text() == "SIGTERM"


def test_ctrl_c_three_times_ends_at_once(tmp_path: Path) -> None:
    with launched(tmp_path, worker(tmp_path, save_s=600), grace_s=600) as process:
        wait_for(tmp_path / "ready-0")
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            assert process.poll() is None
        code, errors = stopped(process, signal.SIGINT)
    assert code == 137
    assert "still running: killed" in errors


def test_srun_is_stopped_by_the_signal_that_it_hands_on(tmp_path: Path) -> None:
    (tmp_path / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    with launched(tmp_path, [str(tmp_path / "srun"), *worker(tmp_path)]) as process:
        wait_for(tmp_path / "ready-0")
        assert stopped(process, signal.SIGTERM)[0] == 75
    assert (tmp_path / "saved-0").read_text() == "SIGUSR2"


def test_a_users_variables_are_left_as_they_are() -> None:
    assert environment(300, gpu=True, variables={"HOME": "/root", "OMP_WAIT_POLICY": "active"}) == {
        "HOME": "/root",
        "OMP_WAIT_POLICY": "active",
        "PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "300",
        "PROVENET_GRACE_S": "300",
    }


def test_a_machine_without_a_gpu_is_set_up_for_its_cpus() -> None:
    ours = environment(300, gpu=False, variables={"ACCELERATE_USE_CPU": "false"})
    assert ours["ACCELERATE_USE_CPU"] == "false"
    assert "glibc.malloc.hugetlb=1" in ours["GLIBC_TUNABLES"].split(":")


def test_a_stop_before_a_trainer_listens_asks_to_start_again(tmp_path: Path) -> None:
    """As a preemption in the seconds in which processes load their libraries."""
    command = ["sh", "-c", "touch ready-0; exec sleep 60"]
    with launched(tmp_path, command) as process:
        wait_for(tmp_path / "ready-0")
        code, _ = stopped(process, signal.SIGTERM)
    assert code == 75
