import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.types import Backend
from tests.data.load.loading import BACKENDS


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_epochs_take_no_more_memory_or_files_than_ten(images: Path, backend: Backend) -> None:
    command = [sys.executable, "-m", "tests.data.load.long_run", backend, str(images), "100", "randaugment"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    warm, *_, last = json.loads(done.stdout)
    assert last["batches"] == 100 * 24
    assert last["resident"] < 1.02 * warm["resident"]
    assert last["files"] <= warm["files"] + 2  # one that each thread may be reading
    assert last["threads"] == warm["threads"]
