"""The wheel, built and installed where nothing of the checkout can be imported."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.commands import HANGS_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROOMS = ("launch", "trainer", "models", "data")
HEAVY = {"torch", "torchvision", "timm", "accelerate", "nvidia", "tensorboard"}
ASKED = (
    ("models", "list"),
    ("models", "--help"),
    ("--help",),
    ("submit", "--help"),
    ("train", "resnet50", "--help"),
    ("prepare", "--help"),
)


def sources() -> list[str]:
    """What git keeps, or would."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left in the checkout."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    flags = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", built, copy], check=True)
    (file,) = built.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment that has the wheel, and this one's packages behind it."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    flags = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *flags, wheel], check=True)
    paths = {name: str(place) for name in ("base", "platbase")}
    own = Path(sysconfig.get_path("purelib", vars=paths))
    # a folder that a .pth names has its own .pth files passed over, those of an editable install among them
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def asked(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, *words], check=False, capture_output=True, text=True, cwd=folder, env=environment, timeout=HANGS_S
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert held == {name for name in sources() if name.split("/")[0] in ROOMS}


def test_its_version_is_that_of_the_changelog(wheel: Path) -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    newest = next(line for line in lines if line.startswith("## [") and line != "## [Unreleased]")
    assert wheel.name.split("-")[1] == newest.split("[")[1].split("]")[0]


def test_the_wheel_s_own_code_is_what_runs(installed: Path, tmp_path: Path) -> None:
    code = "import launch, trainer, models, data; print(*(room.__file__ for room in (launch, trainer, models, data)))"
    places = asked(installed, tmp_path, "-c", code).stdout.split()
    assert all(Path(place).is_relative_to(installed.parents[1]) for place in places), places


@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_a_command_answers_from_anywhere_and_loads_nothing_heavy(
    words: tuple[str, ...], installed: Path, tmp_path: Path
) -> None:
    done = asked(installed, tmp_path, "-X", "importtime", str(installed.parent / "provenet"), *words)
    assert len(done.stdout.splitlines()) > 7
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded or "tyro" in loaded  # the list is one
    counted = {"torch", "torchvision"} if words == ("models", "list") else set[str]()  # the list counts parameters
    assert loaded & HEAVY <= counted
    assert list(tmp_path.iterdir()) == []
