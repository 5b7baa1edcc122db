import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data.catalog import dataset
from data.catalog.listing import Listing, read
from data.catalog.pack_record import PackOptions
from data.output_folder import RefusedError
from data.prepare.imagenet import Archives, prepare
from data.prepare.prepared import RECORD, Prepared
from tests.data import archives
from tests.data.prepare.watched import Watched

ROOT = Path(__file__).parents[3]
TRAIN = {
    f"train/{wnid}/{name}": image for wnid, images in archives.train_images().items() for name, image in images.items()
}
WNIDS = {number: wnid for wnid, number in archives.CLASSES.items()}
VAL = {
    f"val/{WNIDS[number]}/{name}": image
    for number, (name, image) in zip(archives.TRUTH, archives.val_images().items(), strict=True)
}


def contents(root: Path) -> dict[str, bytes]:
    """All files, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return archives.imagenet(tmp_path / "archives")


def make(root: Path, paths: dict[str, Path], workers: int = 1, shards: PackOptions | None = None) -> Prepared:
    return prepare(root, Archives(**paths), shards=shards, partial=True, workers=workers)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_archives_become_a_tree_by_class(tmp_path: Path, paths: dict[str, Path], workers: int) -> None:
    prepared = make(tmp_path / "new/tree", paths, workers)
    made = contents(tmp_path / "new/tree")
    assert json.loads(made.pop(RECORD))["contents"] == {
        "classes": 3,
        "train": 12,
        "val": 6,
        "bytes": prepared.contents.bytes,
    }
    assert made == {**TRAIN, **VAL}
    assert (prepared.written, prepared.contents.bytes) == (18, sum(map(len, made.values())))


def test_classes_are_numbered_by_synset_and_not_by_the_devkit(tmp_path: Path, paths: dict[str, Path]) -> None:
    make(tmp_path / "tree", paths)
    for split in ("train", "val"):
        assert dataset.find(tmp_path / "tree").listing(split).classes == ("n01440764", "n02119789", "n03000684")


def images(listing: Listing) -> dict[str, tuple[int, bytes]]:
    return {
        entry.name: (entry.target, read(listing.path(entry), entry.offset, entry.size)) for entry in listing.entries
    }


def test_shards_hold_the_images_of_the_tree(tmp_path: Path, paths: dict[str, Path]) -> None:
    make(tmp_path / "tree", paths)
    prepared = make(tmp_path / "shards", paths, shards=PackOptions(shard_images=5))
    assert (prepared.contents.train, prepared.contents.val, prepared.contents.classes) == (12, 6, 3)
    assert sorted(path.name for path in (tmp_path / "shards/train").glob("*.tar")) == [
        f"train-00000{number}.tar" for number in range(3)
    ]
    for split in ("train", "val"):
        tree, shards = (dataset.find(tmp_path / form).listing(split) for form in ("tree", "shards"))
        assert images(shards) == images(tree)
        manifest = dataset.find(tmp_path / "shards").manifest(tmp_path / "shards", split)
        assert (len(manifest), manifest.classes, manifest.archives) == (
            len(tree.entries),
            tree.classes,
            shards.archives,
        )
        assert shards.classes == tree.classes


def test_each_phase_is_shown_to_its_end(tmp_path: Path, paths: dict[str, Path]) -> None:
    tree, shards = Watched(), Watched()
    prepare(tmp_path / "tree", Archives(**paths), partial=True, workers=1, watch=tree)
    assert tree.phases == {"scan": ("classes", 3, 3), "prepare": ("images", 18, 18)}
    prepare(tmp_path / "out", Archives(**paths), shards=PackOptions(), partial=True, workers=1, watch=shards)
    assert shards.phases == {
        "scan": ("classes", 3, 3),
        "pack train": ("images", 12, 12),
        "verify train": ("images", 12, 12),
        "pack val": ("images", 6, 6),
        "verify val": ("images", 6, 6),
    }


def test_a_shard_that_an_interruption_left_out_is_written(tmp_path: Path, paths: dict[str, Path]) -> None:
    root, options = tmp_path / "shards", PackOptions(shard_images=5)
    make(root, paths, shards=options)
    before = contents(root)
    unfinish(root)
    (root / "train/train-000001.tar").unlink()
    assert make(root, paths, shards=options).written == 12
    assert {name for name in before if before[name] != contents(root)[name]} <= {"pack.json", "manifest-train.npz"}


@pytest.mark.parametrize("shards", [None, PackOptions(shard_images=5)])
def test_a_complete_data_set_is_left_alone_wherever_its_archives_lie(
    tmp_path: Path, paths: dict[str, Path], shards: PackOptions | None
) -> None:
    first = make(tmp_path / "out", paths, shards=shards)
    before = contents(tmp_path / "out")
    elsewhere = {flag: path.rename(tmp_path / path.name) for flag, path in paths.items()}
    again = make(tmp_path / "out", elsewhere, shards=shards)
    assert (again.written, again.contents) == (0, first.contents)
    assert contents(tmp_path / "out") == before


def unfinish(root: Path) -> None:
    record = json.loads((root / RECORD).read_text())
    (root / RECORD).write_text(json.dumps({key: record[key] for key in record if key != "contents"}))


def test_whole_files_are_kept_and_others_written_again(tmp_path: Path, paths: dict[str, Path]) -> None:
    root = tmp_path / "tree"
    make(root, paths)
    unfinish(root)
    names = sorted(TRAIN)
    (root / names[1]).unlink()
    (root / names[2]).write_bytes(b"")
    (root / names[3]).write_bytes(TRAIN[names[3]][:-1])
    shutil.rmtree(root / "val/n01440764")
    (root / "manifest-train.npz").touch()
    kept = {
        path: path.stat().st_mtime_ns for path in root.rglob("*.JPEG") if str(path.relative_to(root)) not in names[2:4]
    }
    assert make(root, paths).written == 3 + 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {name: image for name, image in contents(root).items() if name.endswith("JPEG")} == {**TRAIN, **VAL}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_tree(tmp_path: Path) -> None:
    count = 600
    paths = archives.imagenet(tmp_path / "archives", count=count)
    flags = [word for flag, path in paths.items() for word in (f"--{flag.replace('_', '-')}", str(path))]
    command = [sys.executable, "-m", "launch", "prepare", "imagenet", str(tmp_path / "killed"), *flags, "--partial"]
    with subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, start_new_session=True) as process:
        first = tmp_path / "killed/train/n01440764"
        wait_until(lambda: first.is_dir() and len(list(first.iterdir())) > 20)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("n*.JPEG")}
    assert 20 <= len(kept) < 3 * count
    assert "contents" not in json.loads((tmp_path / "killed" / RECORD).read_text())
    assert make(tmp_path / "killed", paths).written == 3 * count + 6 - len(kept)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected = archives.train_images(count=count)
    made = contents(tmp_path / "killed")
    del made[RECORD]
    assert made == VAL | {f"train/{wnid}/{name}": expected[wnid][name] for wnid in expected for name in expected[wnid]}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_validation_images_of_absent_classes_are_left_out_and_counted(tmp_path: Path) -> None:
    paths = archives.imagenet(tmp_path / "archives", classes=["n02119789", "n03000684"])
    prepared = make(tmp_path / "tree", paths)
    assert (prepared.contents.classes, prepared.contents.val) == (2, 4)
    assert prepared.notes == ("2 validation images of classes that --train-tar lacks were left out",)
    assert sorted(path.name for path in (tmp_path / "tree/val").iterdir()) == ["n02119789", "n03000684"]


def test_a_part_of_imagenet_is_refused_unless_it_is_asked_for(tmp_path: Path, paths: dict[str, Path]) -> None:
    said = refusal(lambda: prepare(tmp_path / "out", Archives(**paths), workers=1))
    assert said.splitlines()[1] == "--train-tar: classes: 3, images: 12; ImageNet has 1,000 and 1,281,167"
    assert said.splitlines()[-1] == "to prepare a part of ImageNet all the same, add --partial"
    assert not (tmp_path / "out").exists()


def test_every_problem_of_the_flags_is_told_at_once(tmp_path: Path) -> None:
    absent = {flag: tmp_path / flag for flag in ("train_tar", "val_tar", "devkit")}
    (tmp_path / "val_tar").mkdir()
    (tmp_path / "out").touch()
    said = refusal(lambda: make(tmp_path / "out", absent, workers=0, shards=PackOptions()))
    where = "download it from https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
    assert said.splitlines() == [
        "--workers: 0; must be at least 1 and at most 256",
        f"--train-tar: {tmp_path}/train_tar does not exist; {where}",
        f"--val-tar: {tmp_path}/val_tar is no file; {where}",
        f"--devkit: {tmp_path}/devkit does not exist; {where}",
        f"{tmp_path}/out is a file; name a folder",
    ]


def test_every_problem_of_the_archives_is_told_at_once_and_nothing_written(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    whole = paths["train_tar"].read_bytes()
    inner = {f"{wnid}.tar": archives.tar({f"{wnid}_1.JPEG": b"x", "../x.JPEG": b"x"}) for wnid in archives.CLASSES}
    paths["train_tar"].write_bytes(archives.tar(inner))
    for flag in ("val_tar", "devkit"):
        paths[flag].write_bytes(paths[flag].read_bytes()[:400])
    said = refusal(lambda: make(tmp_path / "out", paths)).splitlines()
    assert [line.split(": ")[0] for line in said] == [
        str(paths["devkit"]),
        str(paths["val_tar"]),
        *[str(paths["train_tar"])] * 3,
    ]
    assert all("../x.JPEG leads out of the folder" in line for line in said[2:])
    assert not (tmp_path / "out").exists()
    paths["train_tar"].write_bytes(whole[: len(whole) // 2])
    assert "the archive ends before this file does" in refusal(lambda: make(tmp_path / "out", paths))


def other_archive(root: Path, paths: dict[str, Path]) -> None:
    unfinish(root)
    content = paths["val_tar"].read_bytes()
    paths["val_tar"].write_bytes(content.replace(b"\xff\xd9", b"\xff\xd8", 1))


REFUSED = [
    (lambda root, _: (root / RECORD).unlink(), "holds train, val, no part of this data set; name another folder"),
    (lambda root, _: (root / RECORD).write_text("{"), "prepare.json cannot be read"),
    (lambda root, _: (root / RECORD).write_text("{}"), "was prepared from something else (schema: asked 1, found None"),
    (other_archive, "was prepared from something else (--val-tar: asked"),
    (lambda root, _: (unfinish(root), (root / "notes.txt").touch()), "holds notes.txt, no part of this data set"),
    (lambda root, _: (unfinish(root), (root / "val/cats").mkdir()), "val holds cats, no part of this data set"),
    (
        lambda root, _: (unfinish(root), (root / "train/n02119789/n02119789_9.JPEG").touch()),
        "train/n02119789 holds n02119789_9.JPEG, no part of this data set",
    ),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSED)
def test_a_folder_that_holds_anything_else_is_refused(
    tmp_path: Path, paths: dict[str, Path], spoil: Callable[[Path, dict[str, Path]], object], reason: str
) -> None:
    make(tmp_path / "out", paths)
    spoil(tmp_path / "out", paths)
    before = contents(tmp_path)
    assert re.search(re.escape(reason), refusal(lambda: make(tmp_path / "out", paths)))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("shards", [None, PackOptions()])
def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path, paths: dict[str, Path], shards: PackOptions | None) -> None:
    root = tmp_path / "out"
    root.mkdir()
    with (root / ".prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is writing this data set" in refusal(lambda: make(root, paths, shards=shards))
    assert [path.name for path in root.iterdir()] == [".prepare.lock"]
    assert make(root, paths, shards=shards).written == 18
