"""The commit of this code. Standard library only."""

import subprocess
from contextlib import suppress
from pathlib import Path

FILE = "COMMIT"  # in this package: holds the commit in a copy of the code without its git history


def commit() -> str:
    """The commit, with `+` where files were changed since; `unknown` outside a checkout."""
    root = Path(__file__).parents[1]
    with suppress(OSError):
        return __loader__.get_data(str(Path(__file__).with_name(FILE))).decode().strip()  # also of an archive
    try:
        _git(root, "ls-files", "--error-unmatch", "trainer/__init__.py")  # fails in another project's checkout
        hash_ = _git(root, "rev-parse", "HEAD")
        return hash_ + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
