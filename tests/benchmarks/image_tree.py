"""The image tree on which whole programs are timed: the user's, or one that is drawn."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contestant import FailedError, environment, last_words

CLASSES = 10


@dataclass(frozen=True, slots=True)
class Images:
    """ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG, listed."""

    root: Path
    manifests: Path
    """Folder with their manifests."""

    @property
    def classes(self) -> int:
        """How many."""
        return sum(folder.is_dir() for folder in (self.root / "train").iterdir())


def ready(given: Path | None, folder: Path, count: int) -> Images:
    """Images to train on, at least `count` of them where they are drawn; what is missing is made in `folder`.

    Raises:
        FailedError: They cannot be drawn or listed.
    """
    from data.catalog import dataset  # loads numpy, which a command's help does without

    root = given or folder / "images"
    if not given:
        amounts = ("--train-per-class", -(-count // CLASSES), "--val-per-class", 4)
        _data("synth", root, "--scale", "full", "--classes", CLASSES, *amounts)
    if dataset.has_manifests(root):
        return Images(root, root)
    _data("verify", root, "--output", folder / "manifests")
    return Images(root, folder / "manifests")


def _data(*words: object) -> None:
    command = [sys.executable, "-P", "-m", "launch", *map(str, words)]
    done = subprocess.run(command, env=environment(1), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"data {words[0]}: {last_words(done.stderr, done.returncode)}")
