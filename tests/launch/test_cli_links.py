import subprocess
from pathlib import Path

import pytest

from launch.cli import main
from tests import commands

SMALL = ("--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "demo", *SMALL, "--data", "IMAGES", "--output", "OUT"),
        ("train", "demo", *SMALL, "--data", "IMAGES", "--output", "OUT/below"),
        ("submit", "demo", *SMALL, "--data", "IMAGES", "--output", "OUT", "--cluster", "local"),
        ("reproduce", "demo", "--data", "IMAGES", "--output", "OUT"),
        ("evaluate", "timm/resnet18", "--data", "IMAGES", "--output", "OUT"),
        ("verify", "IMAGES", "--output", "OUT"),
        ("pack", "IMAGES", "OUT"),
        ("synth", "OUT"),
    ],
    ids=lambda words: words[0],
)
def test_a_link_to_nothing_is_refused_in_words_of_ours(images: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "out").symlink_to("gone")
    done: subprocess.CompletedProcess[str] = commands.call(
        main, *(commands.placed(word, images, tmp_path) for word in words)
    )
    assert done.returncode == 2
    assert f"{tmp_path}/out is a link to gone, which does not exist; name another folder" in commands.said(done)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
