"""Parts that some machines lack, and the images that most tests share."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.synth import synth
from data.synth.config import Synth

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian puts daemons, and not every shell looks

os.environ["PROVENET_SITE"] = os.devnull  # not the file of whoever runs the tests

# several hundred processes start, each of which would compile all of our modules again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# shells start background jobs deaf to Ctrl-C, and nohup to SIGHUP, which every process that a test starts would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

PARTS = {
    "slurm": lambda: os.geteuid() == 0 and all(map(shutil.which, ("slurmctld", "munged", "slurmdbd", "mariadbd"))),
    "browser": lambda: shutil.which("chromium"),
    "gpu": lambda: shutil.which("nvidia-smi"),
}
REASONS = {
    "slurm": "needs root and Slurm's packages: sudo make system",
    "browser": "needs Chromium: sudo make system",
    "gpu": "needs an NVIDIA GPU",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole runs: begun last, a long one would keep one process busy, and the others waiting for it."""
    items.sort(key=lambda item: "system" not in item.path.parts)
    _mark_absent(items)


def _mark_absent(items: list[pytest.Item]) -> None:
    """Skip tests whose part is missing, with the reason; fail them instead where PROVENET_REQUIRE names the part."""
    required = os.environ.get("PROVENET_REQUIRE", "").split()
    for part, present in PARTS.items():
        missing = not present()
        for item in items:
            if missing and item.get_closest_marker(part):
                item.add_marker(_absent(part, fail=part in required))


def _absent(part: str, *, fail: bool) -> pytest.MarkDecorator:
    return pytest.mark.usefixtures("_required_part_is_missing") if fail else pytest.mark.skip(REASONS[part])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Processes take test after test, but all those of a file whose tests share what a fixture makes once."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, _ = nodeid.partition("::")
            return file if 'scope="module"' in (config.rootpath / file).read_text() else nodeid

    return Together(config, log)


@pytest.fixture
def _required_part_is_missing() -> None:
    pytest.fail("a part that PROVENET_REQUIRE names is missing on this machine; see tests/conftest.py")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors here are small: a second thread gains nothing, and stalls where other programs want the cores."""
    torch = sys.modules.get("torch")  # the tests of what loads no torch do not load it either
    threads = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree of real JPEG files: 4 classes of 24 images to train on and 20 to evaluate, over one batch in all."""
    root = tmp_path_factory.mktemp("images") / "synth"
    synth.write(root, Synth(scale="small", classes=4, train_per_class=24, val_per_class=20), workers=2)
    return root
