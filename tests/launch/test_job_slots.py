import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from launch.job import _free, slot

HOLDER = """
import sys
from pathlib import Path
from launch import job
job._POLL_S = 0.01
print("waits", flush=True)
with job.slot(Path(sys.argv[1]), 1):
    print("holds", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "waits\n"
    return process


def test_there_are_never_more_than_so_many_at_a_time(tmp_path: Path) -> None:
    with slot(tmp_path, 2):
        with slot(tmp_path, 2):
            assert _free(tmp_path, 2) is None
        with slot(tmp_path, 2):
            assert _free(tmp_path, 2) is None
    with slot(tmp_path, 2), slot(tmp_path, 2):
        assert _free(tmp_path, 2) is None


def test_a_killed_process_gives_its_place_to_one_that_waits(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first.stdout and first.stdout.readline() == "holds\n"
        with holder(tmp_path) as second:
            assert _free(tmp_path, 1) is None
            first.kill()
            assert second.stdout and second.stdout.readline() == "holds\n"
            assert _free(tmp_path, 1) is None
            second.communicate()
    with slot(tmp_path, 1):
        pass


def test_a_run_that_fails_gives_its_place_back(tmp_path: Path) -> None:
    with suppress(ValueError), slot(tmp_path, 1):
        raise ValueError("the run failed")
    with slot(tmp_path, 1):
        assert _free(tmp_path, 1) is None


def test_many_places_need_few_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        with slot(tmp_path, 1000):
            assert len(list(Path("/proc/self/fd").iterdir())) <= used + 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
