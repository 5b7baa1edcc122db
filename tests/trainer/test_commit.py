import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def commit_of(root: Path) -> str:
    """What the module says that lies there."""
    spec = importlib.util.spec_from_file_location("elsewhere", root / "trainer" / "commit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.commit()


def git(folder: Path, *words: str) -> str:
    known = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
        ["git", *known, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the module alone, outside any checkout."""
    (tmp_path / "copy" / "trainer").mkdir(parents=True)
    (tmp_path / "copy" / "trainer" / "__init__.py").touch()
    shutil.copy(ROOT / "trainer" / "commit.py", tmp_path / "copy" / "trainer")
    return tmp_path / "copy"


def test_a_checkout_names_its_commit_and_marks_changes(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "trainer/__init__.py")
    git(root, "commit", "-qm", "one")
    assert commit_of(root) == git(root, "rev-parse", "HEAD")
    (root / "trainer" / "__init__.py").write_text("changed = True")
    assert commit_of(root) == git(root, "rev-parse", "HEAD") + "+"


def test_a_package_in_another_projects_checkout_has_not_that_ones_commit(root: Path) -> None:
    git(root.parent, "init", "-q")
    git(root.parent, "commit", "-qm", "one", "--allow-empty")
    assert commit_of(root) == "unknown"


def test_a_copy_says_what_it_is_a_copy_of_before_any_checkout_around_it(root: Path) -> None:
    assert commit_of(root) == "unknown"
    git(root, "init", "-q")
    (root / "trainer" / "COMMIT").write_text("abc+\n")
    assert commit_of(root) == "abc+"


def test_a_machine_without_git_does_not_know(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit_of(root) == "unknown"
