"""`provenet verify`, as a user calls it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader

from data.catalog import dataset
from data.load.image_file import Images
from tests.commands import HANGS_S
from trainer.commands.cli import main

ROOT = Path(__file__).parents[3]
LISTS = ["manifest-train.npz", "manifest-val.npz"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, (split, name) in enumerate((split, name) for split in ("train", "val") for name in "ab"):
        for number in range(4):
            save(tmp_path / "tree" / split / name / f"{number}.JPEG", 10 * index + number)
    return tmp_path / "tree"


def save(file: Path, seed: int, side: int = 16) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")


def verify(root: Path, *arguments: str) -> int:
    return main(["verify", str(root), *arguments, "--workers", "1"])


def test_a_sound_data_set_is_listed_and_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (100, 50)).save(root / "train/a/0.JPEG", "PNG", exif=exif)
    assert verify(root) == 0
    assert sorted(path.name for path in root.iterdir()) == [*LISTS, "train", "val"]
    assert len(dataset.find(root).manifest(root, "train")) == 8
    lines = {line[:38].strip(): line[38:].split("  ") for line in capsys.readouterr().out.splitlines()}
    cells = {title: [cell.strip() for cell in row if cell.strip()] for title, row in lines.items()}
    assert cells[""] == ["train", "val"]
    assert cells["usable images"] == ["8", "8"]
    assert cells["broken images"] == ["0", "0"]
    assert cells["classes"] == ["2", "2"]
    assert cells["width, least / mean / most"] == ["20 / 30 / 100 px", "20 / 20 / 20 px"]
    assert cells["height, least / mean / most"] == ["16 / 20 / 50 px", "16 / 16 / 16 px"]
    assert cells["formats"] == ["JPEG 7, PNG 1", "JPEG 8"]
    assert cells["colour spaces"] == ["RGB 7, L 1", "RGB 8"]
    assert cells["turned by EXIF, which training ignores"] == ["1", "0"]
    assert cells["copies of an image of the same split"] == ["0", "0"]
    assert cells["read now"][0].startswith("8 of 8 in 0.")


def test_done_again_it_reads_nothing_and_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(root) == 0
    capsys.readouterr()
    assert verify(root) == 0
    assert capsys.readouterr().out.count("none, unchanged since the last time") == 2
    save(root / "val/a/0.JPEG", 99, side=24)
    assert verify(root) == 0
    output = capsys.readouterr().out
    assert (output.count("none, unchanged"), output.count("1 of 8 in ")) == (1, 1)


def test_broken_images_are_named_and_end_with_1(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        (root / f"train/b/bad{number:02}.JPEG").write_bytes(b"")
    (root / "val/a/0.JPEG").write_bytes(b"GIF89a")
    assert verify(root) == 1
    output = capsys.readouterr().out
    assert f"\n  {root}/train/b/bad00.JPEG: the file is empty\n" in output
    assert output.count("the file is empty") == 20
    assert "\n  and 11 more\n" in output
    assert len(dataset.find(root).manifest(root, "val")) == 7
    assert verify(root) == 1


def test_greys_of_more_than_8_bits_are_named_with_what_becomes_of_them(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ramp = np.linspace(0, 65535, 400, dtype=np.uint16).reshape(20, 20)
    Image.fromarray(ramp).save(root / "val/b/deep.png")
    (root / "train/a/notes.txt").write_text("no image")
    assert verify(root) == 0
    done = capsys.readouterr()
    warning = "warning: greys of more than 8 bits are cut to whole numbers from 0 to 255, as in torchvision: 1"
    assert f"{warning}\n  {root}/val/b/deep.png\n" in done.out
    assert done.err.splitlines()[-1] == f"{root}/train: left out: .txt 1"
    pixels = Images(dataset.find(root).manifest(root, "val")).pixels(8)
    assert np.array_equal(pixels, np.asarray(default_loader(root / "val/b/deep.png")))
    assert np.array_equal(pixels[..., 0], ramp.clip(0, 255))


def test_images_of_both_splits_are_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        (root / f"val/a/copy{number}.JPEG").write_bytes((root / "train/b/3.JPEG").read_bytes())
    assert verify(root) == 0
    output = capsys.readouterr().out
    assert "images of val that are in train too: 7\n" in output
    assert f"  {root}/val/a/copy0.JPEG is {root}/train/b/3.JPEG\n" in output
    assert "  and 2 more\n" in output


def test_the_lists_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    assert verify(root, "--output", str(tmp_path / "new/lists")) == 0
    assert sorted(path.name for path in (tmp_path / "new/lists").iterdir()) == LISTS
    assert sorted(path.name for path in root.iterdir()) == ["train", "val"]


def test_a_synthetic_data_set_with_lists_is_still_complete(tmp_path: Path) -> None:
    options = ("--classes", "2", "--train-per-class", "1", "--val-per-class", "1", "--workers", "1")
    assert main(["synth", str(tmp_path / "tree"), *options]) == 0
    assert verify(tmp_path / "tree") == 0
    assert main(["synth", str(tmp_path / "tree"), *options]) == 0


def test_a_damaged_list_is_made_anew(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / LISTS[0]).write_bytes(b"damaged")
    assert verify(root) == 0
    assert f"{root / LISTS[0]} is no manifest" in capsys.readouterr().err
    assert len(dataset.find(root).manifest(root, "train")) == 8


def test_a_place_that_cannot_be_written_names_the_flag(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert verify(root, "--output", str(tmp_path / "file/lists")) == 2
    place = f"{tmp_path}/file/lists: Not a directory; name a folder that can be written"
    assert capsys.readouterr().err == f"cannot start; nothing was written\n  --output: {place}\n"


@pytest.mark.parametrize(
    ("place", "arguments", "reason"),
    [
        ("nothing", [], "ROOT: HERE/nothing does not exist; expected "),
        ("tree/train", [], "ROOT: HERE/tree/train has no folder train and no folder val; expected "),
        (".", [], "ROOT: HERE has no folder train and no folder val; expected "),
        ("tree", ["--workers", "0"], "--workers: 0; must be at least 1 and at most 256"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    root: Path, capsys: pytest.CaptureFixture[str], place: str, arguments: list[str], reason: str
) -> None:
    here = root.parent
    assert main(["verify", str(here / place), *arguments]) == 2
    assert reason.replace("HERE", str(here)) in capsys.readouterr().err
    assert list(here.rglob("*.npz")) == []


@pytest.mark.slow
def test_ctrl_c_is_obeyed_and_the_next_call_goes_on(root: Path) -> None:
    save(root / "train/a/big.JPEG", 0, side=600)
    for number in range(900):
        (root / f"train/a/big{number:04}.JPEG").hardlink_to(root / "train/a/big.JPEG")
    command = [sys.executable, "-m", "launch", "verify", str(root), "--workers", "2"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    journal = root / ".manifest-train.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:  # its head and two chunks
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=HANGS_S)
    assert (process.returncode, output, errors) == (130, "", "interrupted; the same command goes on from here\n")
    assert not (root / LISTS[0]).exists()
    for number in range(64, 900):
        (root / f"train/a/big{number:04}.JPEG").unlink()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    read = re.search(r"read now +(\d+) of 73 in ", done.stdout)
    assert read is not None
    assert int(read[1]) < 73
    assert not journal.exists()
