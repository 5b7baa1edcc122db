"""The runs that others are compared with, and their images: each made once, whichever process of pytest needs it.

These are started, not forked: what is compared with them has another hash seed, and imported what it needed itself.
"""

from pathlib import Path

import pytest

from data.synth import synth
from data.synth.config import Synth
from tests.system.running import once, train


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As elsewhere 4 classes of 24 images to train on and 20 to evaluate."""
    config = Synth(scale="small", classes=4, train_per_class=24, val_per_class=20)
    return once(tmp_path_factory, "images", lambda root: synth.write(root, config, workers=2))


@pytest.fixture(scope="session")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; beside it, in whole.out, what it printed and imported."""

    def make(run: Path) -> None:
        run.with_suffix(".out").write_text(train(images, run, launcher="showing imports", fork=False))

    return once(tmp_path_factory, "whole", make)


@pytest.fixture(scope="session")
def whole_pair(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on two processes."""
    return once(tmp_path_factory, "pair", lambda run: train(images, run, launcher="torchrun x2", fork=False))
