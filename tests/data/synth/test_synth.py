import dataclasses
import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
from PIL import Image

from data.output_folder import RefusedError
from data.synth import synth
from data.synth.config import Synth
from data.synth.synth import RECORD

ROOT = Path(__file__).parents[3]
OPTIONS = Synth(scale="small", classes=3, train_per_class=20, val_per_class=5, seed=7)
LONG = dataclasses.replace(OPTIONS, classes=2, train_per_class=280, val_per_class=20)


def contents(root: Path) -> dict[str, bytes]:
    """All files, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def options(**changes: int | str) -> Synth:
    return dataclasses.replace(OPTIONS, **changes)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree drawn by this process."""
    root = tmp_path_factory.mktemp("synth") / "tree"
    synth.write(root, OPTIONS, workers=1)
    return root


def test_the_tree_has_imagenet_s_layout(tree: Path) -> None:
    assert sorted(path.name for path in tree.iterdir()) == ["synth.json", "train", "val"]
    for split, count in (("train", 20), ("val", 5)):
        folders = sorted((tree / split).iterdir())
        assert [folder.name for folder in folders] == ["n00_disk_stripes", "n01_disk_checks", "n02_cross_checks"]
        assert [len(list(folder.glob("*.JPEG"))) for folder in folders] == [count] * 3


def test_every_image_is_a_jpeg_that_decodes(tree: Path) -> None:
    for path in tree.rglob("*.JPEG"):
        with Image.open(path) as image:
            image.load()
            assert image.format == "JPEG"
            assert image.mode in ("RGB", "L")
            assert min(image.size) >= 48


def test_the_record_holds_options_counts_and_bytes(tree: Path) -> None:
    record = json.loads((tree / RECORD).read_text())
    sizes = [path.stat().st_size for path in tree.rglob("*.JPEG")]
    assert record["schema"] == 1
    assert record.items() >= dataclasses.asdict(OPTIONS).items()
    assert (record["complete"], record["images"], record["bytes"]) == (True, 75, sum(sizes))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_options_give_the_same_bytes_whatever_the_workers(tree: Path, tmp_path: Path, workers: int) -> None:
    synth.write(tmp_path / "again", OPTIONS, workers=workers)
    assert contents(tmp_path / "again") == contents(tree)


def test_no_two_images_are_the_same(tree: Path, tmp_path: Path) -> None:
    synth.write(tmp_path / "other", options(seed=8), workers=1)
    images = [path.read_bytes() for root in (tree, tmp_path / "other") for path in root.rglob("*.JPEG")]
    assert len(images) == len(set(images)) == 150


def test_more_images_leave_those_before_as_they_are(tree: Path, tmp_path: Path) -> None:
    synth.write(tmp_path / "more", options(train_per_class=21, classes=4), workers=1)
    more = contents(tmp_path / "more")
    assert {name: more[name] for name in contents(tree) if name != RECORD}.items() <= contents(tree).items()


def test_a_complete_tree_is_left_alone(tree: Path) -> None:
    before = contents(tree)
    start = time.process_time()
    written = synth.write(tree, OPTIONS, workers=2)
    assert time.process_time() - start < 0.25
    assert (written.images, written.drawn) == (75, 0)
    assert written.bytes == sum(len(image) for name, image in before.items() if name != RECORD)
    assert contents(tree) == before


def test_progress_counts_every_image_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    synth.write(tmp_path / "tree", OPTIONS, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 75)
    assert seen[-1] == (75, 75)
    assert seen == sorted(seen)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 600 images that nothing disturbed."""
    root = tmp_path_factory.mktemp("synth") / "whole"
    synth.write(root, LONG, workers=2)
    return root


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_is_finished_to_the_same_bytes(whole: Path, tmp_path: Path, workers: int) -> None:
    killed = tmp_path / "killed"
    kill_while_writing(killed, workers)
    kept = {path: path.stat().st_mtime_ns for path in killed.rglob("*.JPEG")}
    assert not json.loads((killed / RECORD).read_text())["complete"]
    assert 0 < len(kept) < 600
    assert synth.write(killed, LONG, workers=2).drawn == 600 - len(kept)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(killed) == contents(whole)


def kill_while_writing(root: Path, workers: int) -> None:
    """SIGKILL the command once some images are there; its workers end by themselves."""
    flags = ("--classes", "2", "--train-per-class", "280", "--val-per-class", "20", "--seed", "7", "--workers")
    command = [sys.executable, "-m", "launch", "synth", str(root), *flags, str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as process:
        wait_until(lambda: len(list(root.rglob("*.JPEG"))) >= 40)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        wait_until(lambda: not running(process.pid))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def running(group: int) -> list[int]:
    """Processes of a process group, without those that wait to be buried."""
    found = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [int(fields[1]) for fields in found if int(fields[2]) == group and fields[0] != "Z"]


def test_an_image_that_a_power_cut_left_empty_is_drawn_again(tree: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tree, tmp_path / "tree")
    unfinish(root)
    image = sorted(root.rglob("*.JPEG"))[3]
    image.write_bytes(b"")
    assert synth.write(root, OPTIONS, workers=1).drawn == 1
    assert contents(root) == contents(tree)


def unfinish(root: Path, **facts: object) -> None:
    record = json.loads((root / RECORD).read_text())
    facts = {"complete": False} | facts
    (root / RECORD).write_text(
        json.dumps({name: record[name] for name in record if name not in ("images", "bytes")} | facts)
    )


REFUSED = [
    ({}, lambda root: (root / "notes.txt").write_text("mine"), "holds notes.txt, no part of this data set"),
    ({}, lambda root: shutil.rmtree(root) or root.write_text("mine"), "is a file; name a folder"),
    ({}, lambda root: (root / RECORD).unlink(), "holds train, val, no part of this data set"),
    ({}, lambda root: (root / RECORD).write_text("{"), "synth.json cannot be read"),
    ({}, lambda root: (root / RECORD).write_text("7"), "synth.json cannot be read"),
    ({}, lambda root: unfinish(root) or (root / "train/dogs").mkdir(), "train holds dogs, no part of this data set"),
    ({}, lambda root: unfinish(root) or (root / "val/n00_disk_stripes/x.png").touch(), "n00_disk_stripes holds x.png"),
    ({}, lambda root: unfinish(root, numpy="2.0.0"), "numpy: asked"),
    ({}, lambda root: unfinish(root, schema=9), "schema: asked 1, found 9"),
    ({"classes": 4}, Path.exists, "(classes: asked 4, found 3)"),
    ({"seed": 1, "scale": "full"}, Path.exists, "(scale: asked full, found small; seed: asked 1, found 7)"),
]


@pytest.mark.parametrize(("changes", "spoil", "reason"), REFUSED)
def test_a_folder_that_holds_anything_else_is_refused(
    tree: Path, tmp_path: Path, changes: dict[str, int | str], spoil: Callable[[Path], object], reason: str
) -> None:
    root = shutil.copytree(tree, tmp_path / "tree")
    spoil(root)
    before = contents(tmp_path)
    with pytest.raises(RefusedError, match=re.escape(reason)) as refusal:
        synth.write(root, options(**changes), workers=1)
    assert str(root) in str(refusal.value)
    assert "name " in str(refusal.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("workers", "reason"),
    [(0, "--workers: 0; must be at least 1 and at most 256"), (257, "--workers: 257; must be at least 1")],
)
def test_a_number_of_workers_that_cannot_be_is_refused(tmp_path: Path, workers: int, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        synth.write(tmp_path / "tree", OPTIONS, workers=workers)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    def second(*_: int) -> None:
        with pytest.raises(RefusedError, match="another process is writing this data set"):
            synth.write(tmp_path / "tree", OPTIONS, workers=1)

    assert synth.write(tmp_path / "tree", OPTIONS, workers=1, progress=second).drawn == 75


def test_a_killed_worker_ends_the_run_and_another_finishes_it(tree: Path, tmp_path: Path) -> None:
    def kill_a_worker(*_: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(BrokenExecutor):
        synth.write(tmp_path / "tree", OPTIONS, workers=2, progress=kill_a_worker)
    synth.write(tmp_path / "tree", OPTIONS, workers=1)
    assert contents(tmp_path / "tree") == contents(tree)
