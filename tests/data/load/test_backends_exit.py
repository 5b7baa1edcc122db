"""A process that ends in the middle of an epoch ends at once, whatever its loader is at."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.types import Backend
from tests.commands import HANGS_S
from tests.data.load.loading import BACKENDS

PROGRAM = """
import sys
from pathlib import Path
from tests.data.load.loading import train_loader
from tests.data.making import scanned
loader = train_loader(sys.argv[1], scanned(Path(sys.argv[2])))
for number, batch in enumerate(batch for epoch in range(10**6) for batch in loader.epoch(epoch)):
    if number == 10:
        print("running", flush=True)
    if number == 30 and sys.argv[3] == "raise":
        raise ValueError("in the middle")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["raise", "Ctrl-C"])
def test_a_process_that_ends_in_the_middle_of_an_epoch_does_not_hang(images: Path, backend: Backend, way: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, backend, str(images), way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    if way == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANGS_S)
    assert process.returncode in (1, -signal.SIGINT)
    assert errors.rstrip().splitlines()[-1].startswith("ValueError" if way == "raise" else "KeyboardInterrupt"), errors
