"""The run that others are compared with."""

from pathlib import Path

import pytest

from tests.system.running import train


@pytest.fixture(scope="session")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(images, run)
    return run


@pytest.fixture(scope="session")
def whole_pair(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on two processes."""
    run = tmp_path_factory.mktemp("runs") / "pair"
    train(images, run, launcher="torchrun x2")
    return run
