"""Training loss on fixed images, beside what it was: a change of the numerics is seen, whichever part it comes from.

`python -m tests.trainer.golden` writes golden_losses.json anew, where the numerics change on purpose.
"""

import json
from pathlib import Path

import pytest

from tests.trainer import golden

# Relative, by steps done. In float32, with SSE in place of AVX-512, losses moved by up to 4e-7, 4e-5 and 5e-5. Without
# decay those of ResNet-20 move by 2e-3 and 2e-2 after 10 and 50 steps; with momentum 0.95, by 3e-4 and 1e-2.
SINGLE = {1: 1e-4, 10: 2e-4, 50: 5e-4}
# With AVX2 in place of AVX-512, and with other kernels of MKL, by up to 3e-8. After three steps a rate that is 1 %
# higher moves them by 2e-4 and more.
DOUBLE = {1: 5e-7, 3: 1e-6}

LOSSES = json.loads(golden.FILE.read_text())


def test_every_paper_s_recipe_has_its_losses() -> None:
    assert sorted(LOSSES) == golden.papers()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_after_some_steps_is_what_it_was(name: str, tmp_path: Path) -> None:
    tolerances = SINGLE if name in golden.SINGLE else DOUBLE
    found = golden.losses(name, tmp_path)
    assert [str(step) for step in found] == list(LOSSES[name])
    for step, loss in found.items():
        assert loss == pytest.approx(LOSSES[name][str(step)], rel=tolerances[step]), f"after {step} steps"
