import fcntl
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from data.catalog import dataset
from data.output_folder import RefusedError
from data.prepare.imagenette import OFFICIAL, Name, prepare
from data.prepare.prepared import RECORD
from tests.data.archives import jpeg, tar
from tests.data.prepare.watched import Watched

TOP = "imagenette2-320"
IMAGES = {
    "train/n01440764/n01440764_10026.JPEG": jpeg(1),
    "train/n01440764/n01440764_10027.JPEG": jpeg(2),
    "train/n02102040/n02102040_1.JPEG": jpeg(3),
    "val/n01440764/n01440764_3.JPEG": jpeg(4),
    "val/n02102040/ILSVRC2012_val_00000665.JPEG": jpeg(5),
}
OTHERS = {"noisy_imagenette.csv": b"path,noisy\n", ".DS_Store": b"", "train/n01440764/._n01440764_10026.JPEG": b""}


def archive(folder: Path, files: dict[str, bytes], top: str = TOP) -> Path:
    path = folder / "imagenette.tgz"
    path.write_bytes(gzip.compress(tar({f"{top}/{name}": content for name, content in files.items()})))
    return path


def contents(root: Path) -> dict[str, bytes]:
    made = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: content for name, content in made.items() if name != RECORD}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    return str(caught.value)


def test_the_images_of_the_archive_become_a_tree(tmp_path: Path) -> None:
    path = archive(tmp_path, {**OTHERS, **IMAGES})
    prepared = prepare(tmp_path / "out", path, "imagenette", partial=True)
    assert contents(tmp_path / "out") == IMAGES
    found = prepared.contents
    assert (found.classes, found.train, found.val, found.bytes) == (2, 3, 2, sum(map(len, IMAGES.values())))
    assert dataset.find(tmp_path / "out").listing("train").classes == ("n01440764", "n02102040")
    assert prepare(tmp_path / "out", path, "imagenette", partial=True).written == 0


def test_each_phase_is_shown_to_its_end(tmp_path: Path) -> None:
    watched = Watched()
    prepare(tmp_path / "out", archive(tmp_path, IMAGES), "imagenette", partial=True, watch=watched)
    assert watched.phases["prepare"] == ("images", 5, 5)
    assert watched.phases["check"][1] == 5


def test_what_an_interruption_left_is_kept_and_the_rest_written(tmp_path: Path) -> None:
    path = archive(tmp_path, IMAGES)
    root, names = tmp_path / "out", list(IMAGES)
    prepare(root, path, "imagenette", partial=True)
    record = (root / RECORD).read_text()
    (root / RECORD).write_text(record[: record.index(',\n  "contents"')] + "}")
    (root / names[0]).unlink()
    (root / names[4]).write_bytes(b"")
    kept = {name: (root / name).stat().st_mtime_ns for name in names[1:4]}
    assert prepare(root, path, "imagenette", partial=True).written == 2
    assert {name: (root / name).stat().st_mtime_ns for name in kept} == kept
    assert contents(root) == IMAGES


@pytest.mark.parametrize("name", ["imagenette", "imagewoof"])
def test_the_official_archives_are_told_by_classes_and_counts(tmp_path: Path, name: Name) -> None:
    path, official = archive(tmp_path, IMAGES), OFFICIAL[name]
    said = refusal(lambda: prepare(tmp_path / "out", path, name)).splitlines()
    absent = sorted({"n01440764", "n02102040"} ^ set(official.classes))
    more = " and 2 more" if len(absent) > 10 else ""
    assert said == [
        f"--archive: {', '.join(absent[:10])}{more}: in one of the archive and {name} only",
        f"--archive: train images: 3, val images: 2; {name} has {official.train:,} and {official.val:,}",
        "to prepare it all the same, add --partial",
    ]
    assert not (tmp_path / "out").exists()


def test_an_archive_of_the_official_shape_is_accepted(tmp_path: Path) -> None:
    """It gets as far as the lock, whose holder spares the test the writing."""
    official = OFFICIAL["imagewoof"]
    files = {
        f"{split}/{official.classes[i % 10]}/{i}.JPEG": b""
        for split, count in (("train", 9025), ("val", 3929))
        for i in range(count)
    }
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process" in refusal(lambda: prepare(tmp_path / "out", archive(tmp_path, files), "imagewoof"))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"../../x.JPEG": b""}, f"{TOP}/../../x.JPEG leads out of the folder"),
        ({"test/n01440764/x.JPEG": b""}, "holds no image like imagenette2/train/n01440764/x.JPEG"),
        ({"train/a/x.JPEG": b"", "val/b/x.JPEG": b""}, "a, b: in one of train and val only"),
        ({"train/a/x.JPEG": b"", f"../{TOP}/x": b""}, "leads out of the folder"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    path = archive(tmp_path, files)
    assert reason in refusal(lambda: prepare(tmp_path / "out", path, "imagenette", partial=True))
    assert not (tmp_path / "out").exists()


def test_two_data_sets_in_one_archive_are_not_mixed(tmp_path: Path) -> None:
    path = archive(tmp_path, {f"{top}/train/a/x.JPEG": b"" for top in ("one", "two")}, top=".")
    said = refusal(lambda: prepare(tmp_path / "out", path, "imagenette", partial=True))
    assert said == f"{path}: holds more than one data set: one, two"


def test_an_archive_that_is_cut_writes_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path, IMAGES)
    path.write_bytes(path.read_bytes()[:-5])
    assert "no gzip file, or a damaged one" in refusal(lambda: prepare(tmp_path / "out", path, "imagenette"))
    assert not (tmp_path / "out").exists()


def test_an_archive_that_is_not_there_is_had_from_its_makers(tmp_path: Path) -> None:
    said = refusal(lambda: prepare(tmp_path / "out", tmp_path / "no.tgz", "imagewoof"))
    assert said == f"--archive: {tmp_path}/no.tgz does not exist; download it from https://github.com/fastai/imagenette"
