import subprocess
import sys

import pytest

PROTECTED = "from trainer.streams import protect\nimport os, sys\nprotect()\n"


def run(program: str, shell: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'"$0" -c "$1" {shell}', sys.executable, PROTECTED + program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("shell", "reason"),
    [("> /dev/full", "No space left on device"), ("| true; exit ${PIPESTATUS[0]}", "Broken pipe")],
)
def test_output_that_cannot_be_written_is_dropped_and_said_once(shell: str, reason: str) -> None:
    program = "import time; time.sleep(0.2)\nfor _ in range(3): print('x' * 100_000)\nsys.exit(75)"
    done = run(program, shell)
    assert (done.returncode, done.stderr) == (75, f"stdout cannot be written: {reason}; it is dropped\n")


def test_a_program_can_ask_what_was_lost() -> None:
    done = run(
        "from trainer.streams import lost; a = lost(); print('x'); sys.stderr.write(f'{a} {lost()}')", "> /dev/full"
    )
    reason = "stdout cannot be written: No space left on device"
    assert done.stderr == f"{reason}; it is dropped\n[] ['{reason}']"


def test_errors_that_cannot_be_written_are_reported_where_the_results_go() -> None:
    done = run("sys.stderr.write('lost'); print('kept'); sys.exit(1)", "2> /dev/full")
    assert (done.returncode, done.stdout) == (
        1,
        "stderr cannot be written: No space left on device; it is dropped\nkept\n",
    )


def test_what_was_closed_gets_no_file_of_the_run_for_its_output() -> None:
    program = "file = os.open('/dev/null', os.O_RDONLY); print('lost'); sys.stderr.write(str(file)); sys.exit(0)"
    done = run(program, ">&- <&-")
    assert (done.returncode, done.stderr, done.stdout) == (0, "3", "")


def test_output_comes_whole_and_a_name_that_is_no_text_is_escaped() -> None:
    done = run("print('\\udcff', 'y' * 100_000)", "| cat")
    assert done.stdout == "\\udcff " + "y" * 100_000 + "\n"
