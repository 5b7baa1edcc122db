import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from launch import pinned
from launch.pinned import PACKAGES
from tests.commands import HANGS_S
from trainer import imports
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory

ROOT = Path(__file__).parents[2]


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(root)), file.read_bytes()


def run(code: Path, cwd: Path, module: str = "trainer", *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of an archive as a job does."""
    command = [*pinned.command(code, module), *words]
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=HANGS_S)


# the main module of a copy, which removes the copy before it imports the rest
ASKED = """
import os, sys
os.unlink(sys.argv[1])
from models import registry
from trainer.commit import commit
from trainer.recipe import recipes
for module in (recipes, registry):
    print(os.path.relpath(module.__file__, f"/proc/{os.getpid()}/fd/{sys.path[0].split('/')[-1]}"))
print(commit(), recipes.load("demo").epochs, *sys.argv[2:], sep="\\n")
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project of one line."""
    monkeypatch.setattr(pinned, "_ROOT", tmp_path / "checkout")
    (tmp_path / "checkout" / "trainer").mkdir(parents=True)
    (tmp_path / "checkout" / "trainer" / "__init__.py").touch()
    (tmp_path / "checkout" / "trainer" / "__main__.py").write_text("import sys; print('ours', *sys.argv[1:])")
    return tmp_path / "checkout" / "trainer" / "__main__.py"


def test_a_copy_holds_all_the_code_and_its_commit(tmp_path: Path) -> None:
    code = pinned.pin(tmp_path)
    with ZipFile(code) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if name != "trainer/COMMIT"}
    assert held == dict(contents(ROOT))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert pinned.commit_of(code).rstrip("+") == (head.stdout.strip() or "unknown")


def test_a_job_has_all_of_its_code_from_memory_wherever_it_is_started_and_whatever_becomes_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package)
    (tmp_path / "checkout" / "trainer" / "__main__.py").write_text(ASKED)
    monkeypatch.setattr(pinned, "_ROOT", tmp_path / "checkout")
    (tmp_path / "trainer.py").write_text("raise SystemExit('the decoy')")
    code = pinned.pin(tmp_path)
    done = run(code, tmp_path, "trainer", str(code), "it's")
    expected = ["trainer/recipe/recipes.py", "models/registry.py", pinned.commit(), "9", "it's"]
    assert (done.stdout.split("\n")[:-1], done.stderr) == (expected, "")


@pytest.mark.usefixtures("small")
def test_what_another_user_has_put_in_the_place_of_the_copy_is_not_run(tmp_path: Path) -> None:
    code = pinned.pin(tmp_path)
    assert run(code, tmp_path, "trainer", "a b").stdout == "ours a b\n"
    theirs = {"trainer/__main__.py": "print('theirs')", "trainer/__init__.py": "print('theirs')"}
    code.unlink()
    with ZipFile(code, "w") as archive:
        for name, text in theirs.items():
            archive.writestr(name, text)
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{code} is not what was submitted; nothing of it is run\n"
    assert not pinned.is_whole(code)
    assert not pinned.is_whole(tmp_path)


def test_equal_code_has_one_copy_and_an_edit_another(tmp_path: Path, small: Path) -> None:
    same = {pinned.pin(tmp_path), pinned.pin(tmp_path), pinned.pin(tmp_path, dry_run=True)}
    small.write_text("# edited")
    assert pinned.pin(tmp_path) not in same
    assert (len(same), len(list(tmp_path.glob("code-*.zip")))) == (1, 2)


def test_a_job_executes_its_own_copy_of_the_user_s_code_whatever_lies_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "LOADED", {})
    own, run_folder = tmp_path / "own.py", RunDirectory(tmp_path / "run")
    own.write_text("print('mine')")
    recipe = imports.resolved(Recipe(), [own], None)
    run_folder.make()
    run_folder.begin(recipe)
    code = pinned.pin(tmp_path)
    assert recipe.code
    for file in (own, imports.copy(recipe.code[0], run_folder.path)):
        file.write_text("print('theirs')")
    run_folder.path.chmod(0o777)
    words = ("train", str(run_folder.recipe), "--data", str(tmp_path / "gone"), "--output", str(run_folder.path))
    done = run(code, tmp_path, "trainer", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mine\ncannot start; nothing was written\n  --data: ")
