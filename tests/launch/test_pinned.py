import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch import pinned
from launch.pinned import PACKAGES

ROOT = Path(__file__).parents[2]


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(root)), file.read_bytes()


def python(code: str, place: Path, cwd: Path) -> str:
    """What a program prints that is started as a job is."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pinned.pin(tmp_path_factory.mktemp("it's a run"))


def test_a_copy_holds_all_the_code_and_its_commit(copy: Path) -> None:
    assert dict(contents(copy)) == dict(contents(ROOT))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert pinned.commit_of(copy).rstrip("+") == (head.stdout.strip() or "unknown")


def test_a_job_imports_the_copy_wherever_it_is_started(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("raise SystemExit('the decoy')")
    code = "import trainer, launch, models, data; from trainer.commit import commit; print(commit(), trainer.__file__)"
    assert python(code, copy, tmp_path) == f"{pinned.commit_of(copy)} {copy}/trainer/__init__.py"


def test_the_same_code_has_one_copy_and_an_edit_another(copy: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from launch import pinned; print(pinned.pin(Path(sys.argv[0]).cwd()))"
    same = Path(python(code, copy, tmp_path))
    assert same.name == copy.name
    (same / "mark").touch()
    assert Path(python(code, copy, tmp_path)) == same
    assert (same / "mark").exists()  # not copied again
    edited = same / "trainer" / "recipe" / "yaml" / "demo.yaml"
    edited.write_text(edited.read_text() + "# edited\n")
    assert Path(python(code, same, tmp_path)).name != copy.name


def test_a_copy_that_was_killed_half_way_does_not_count(copy: Path, tmp_path: Path) -> None:
    (tmp_path / f"{copy.name}.1.tmp" / "trainer").mkdir(parents=True)
    assert dict(contents(pinned.pin(tmp_path))) == dict(contents(ROOT))
