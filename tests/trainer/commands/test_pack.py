import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from data.catalog import shards
from tests.commands import HANGS_S
from trainer.commands.cli import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            path = tmp_path / "source" / split / f"class{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (200, 50 + 10 * number), (number * 9, 0, 0)).save(path)
    return tmp_path / "source"


def packed(source: Path, *flags: object) -> int:
    return main(["pack", str(source), str(source.parent / "out"), "--workers", "1", *map(str, flags)])


def data(*arguments: object, before: str = "") -> subprocess.Popen[str]:
    """The command in a process group of its own, after some shell commands."""
    command = ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-m", "launch", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_one_command_packs_both_splits_and_lists_their_images(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.parent / "out"
    assert packed(source, "--resize", 80, "--shard-images", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{out}/train: 8 images (4 scaled down) in 3 shards, 0.0 MB; 3 of them written in ")
    assert lines[1].startswith(f"{out}/val: 4 images in 2 shards, 0.0 MB; 2 of them written in ")
    assert sorted(path.name for path in out.iterdir()) == [
        *("classes.txt", "manifest-train.npz", "manifest-val.npz", "pack.json", "train", "val")
    ]
    assert len(shards.listing(out, "val").entries) == 4
    assert packed(source, "--resize", 80, "--shard-images", 3) == 0
    assert [line.rpartition("; ")[2] for line in capsys.readouterr().out.splitlines()] == ["all there before"] * 2


def test_shards_are_a_source_as_well(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert packed(source) == 0
    again = source.parent / "again"
    assert main(["pack", str(source.parent / "out"), str(again), "--workers", "1"]) == 0
    assert [line.split(": ")[1][:8] for line in capsys.readouterr().out.splitlines()] == ["8 images", "4 images"] * 2
    assert shards.listing(again, "train").classes == ("class0", "class1")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--quality", 50], "--quality: 50, but without --resize no image is encoded again"),
        (["--workers", 0], "--workers: 0; must be at least 1 and at most 256"),
        (["--resize", 31], "--resize: 31; must be at least 32 and at most 4096"),
        (["--resize", 32, "--quality", 0], "--quality: 0; must be at least 1 and at most 100"),
        (
            ["--shard-images", 0, "--seed", -1],
            "--shard-images: 0; must be at least 1 and at most 1000000\n"
            "  --seed: -1; must be at least 0 and at most 4294967295",
        ),
        (["--max-broken", 1.5], "--max-broken: 1.5; must be at least 0 and at most 1"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    source: Path, capsys: pytest.CaptureFixture[str], flags: list[object], reason: str
) -> None:
    assert packed(source, *flags) == 2
    assert capsys.readouterr().err == f"cannot start; nothing was written\n  {reason}\n"
    assert not (source.parent / "out").exists()


def test_a_source_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert packed(tmp_path / "source") == 2
    assert f"SOURCE: {tmp_path}/source does not exist" in capsys.readouterr().err


def test_a_source_that_cannot_be_listed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source/train").mkdir(parents=True)
    (tmp_path / "source/val").mkdir()
    (tmp_path / "source/train/x.tar").write_bytes(b"")
    assert packed(tmp_path / "source") == 2
    assert (
        f"{tmp_path}/source/train/x.tar: no tar archive, or a damaged one: empty header; unpack it"
        in capsys.readouterr().err
    )


def test_broken_images_are_named_on_the_screen(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "train/class0/2.jpg").write_bytes(b"no image")
    assert packed(source) == 1
    assert "stopped\n  1 or more of 8 images of" in capsys.readouterr().err
    assert packed(source, "--max-broken", 0.125) == 0
    told = capsys.readouterr()
    assert told.err.startswith(
        "left out, as they cannot be decoded: 1; pack.json names all\n  class0/2.jpg: not an image"
    )
    assert "/train: 7 images in" in told.out


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_takes_no_more_is_told_in_one_line(source: Path, workers: int) -> None:
    """A limit on the size of a file fails as a full disk does: in the middle of a write."""
    (source / "train/class0/0.bmp").write_bytes(b"")
    Image.new("RGB", (300, 300)).save(source / "train/class0/0.bmp")
    out = source.parent / "out"
    limited = data("pack", source, out, "--workers", workers, "--shard-images", 3, before="ulimit -f 64;")
    _, errors = limited.communicate(timeout=HANGS_S)
    assert limited.returncode == 1
    assert errors.splitlines()[-1].startswith(f"failed: {out}/train/train-00000")
    assert errors.endswith(".tar: File too large; once that is fixed, the same command goes on from here\n")
    assert not list(out.rglob("*.tmp"))
    assert packed(source, "--shard-images", 3) == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_obeyed_in_the_middle_of_a_shard(tmp_path: Path, workers: int) -> None:
    """A terminal sends it to the workers too."""
    source, out = tmp_path / "source", tmp_path / "out"
    for split in ("train", "val"):
        (source / split / "cat").mkdir(parents=True)
        Image.effect_noise((1000, 1000), 50).save(source / split / "cat/0.jpg")
        for number in range(1, 2000):  # half a minute's work for each of two shards
            os.link(source / split / "cat/0.jpg", source / split / f"cat/{number}.jpg")
    process = data("pack", source, out, "--resize", 100, "--shard-images", 1000, "--workers", workers)
    while len(list(out.rglob(".*.tar.tmp"))) < workers:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=HANGS_S)
    assert not list(out.rglob("*.tar"))
    assert (process.returncode, output, errors.splitlines()[-1]) == (
        *(130, ""),
        "interrupted; the same command goes on from here",
    )
    assert not list(out.rglob("*.tmp"))
    assert not json.loads((out / "pack.json").read_text())["splits"]["train"]["complete"]
