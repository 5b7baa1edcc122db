import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.types import Backend
from tests.data.load.fuzz import FORMATS
from tests.data.load.loading import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_an_image_either_decodes_or_is_broken_whatever_its_decoder_raises(
    tmp_path: Path, backend: Backend, seed: int
) -> None:
    command = [sys.executable, "-m", "tests.data.load.fuzz", str(tmp_path), backend, str(seed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    count, changed, valid, broken = json.loads(done.stdout)
    assert count > 8 * len(FORMATS)
    assert set(broken) <= set(changed)
    assert set(valid) | set(broken) == set(range(count))
    assert len(changed) > len(broken) > len(changed) // 4
