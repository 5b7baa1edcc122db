import os
from dataclasses import replace
from pathlib import Path

import pytest

from data.catalog.layout import Layout
from data.catalog.manifest import Manifest, load
from tests.data.making import picture, scanned
from trainer.engine.run_images import UnusableDataError
from trainer.evaluation import image_set, session
from trainer.rundir import RunDirectory


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(8):
        file = tmp_path / "set" / "val" / "ab"[number % 2] / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(40, 30, number).save(file, "JPEG")
    return tmp_path / "set"


def listed(tree: Path, output: Path, *known: Path, max_broken: float = 0.0) -> tuple[Manifest, bool]:
    """The list, and whether images were looked at for it."""
    looked: list[int] = []
    where = image_set.find(tree)
    session.list_images(where, list(known), output, max_broken, lambda done, _total: looked.append(done))
    return load(session.list_file(where, output), where.folder), bool(looked)


def test_images_are_looked_at_unless_a_list_of_them_still_holds(tree: Path, tmp_path: Path) -> None:
    first, looked = listed(tree, tmp_path / "one")
    assert (len(first), looked) == (8, True)
    stored = session.list_file(image_set.find(tree), tmp_path / "one")
    assert listed(tree, tmp_path / "one")[1] is False  # it is there for the next
    missing, damaged = tmp_path / "no.npz", tmp_path / "damaged.npz"
    damaged.write_bytes(b"nothing")
    again, looked = listed(tree, tmp_path / "two", missing, damaged, stored)
    assert (again.fingerprint(), looked) == (first.fingerprint(), False)
    (tree / "val" / "a" / "0.JPEG").unlink()
    fewer, looked = listed(tree, tmp_path / "three", stored)
    assert (len(fewer), looked) == (7, True)


def test_a_list_of_other_images_is_not_taken(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in "ab":
        (other / "val" / name).mkdir(parents=True)
        picture(40, 30, 1).save(other / "val" / name / "1.JPEG", "JPEG")
    scanned(other, "val").save(tmp_path / "other.npz")
    found, looked = listed(tree, tmp_path / "new", tmp_path / "other.npz")
    assert (len(found), looked) == (8, True)


def test_too_many_broken_images_are_refused_and_a_few_are_kept_apart(tree: Path, tmp_path: Path) -> None:
    os.truncate(tree / "val" / "a" / "2.JPEG", 50)
    with pytest.raises(UnusableDataError, match="1 of 8 images"):
        listed(tree, tmp_path / "none", max_broken=0.1)
    assert not (tmp_path / "none").exists()
    found, _ = listed(tree, tmp_path / "some", max_broken=0.2)
    assert (len(found), len(found.broken)) == (7, 1)


def test_another_share_of_a_run_s_images_than_it_kept_is_not_taken_without_a_word(tree: Path, tmp_path: Path) -> None:
    (tree / "val").rename(tree / "train")
    run, choice = RunDirectory(tmp_path / "run"), Layout(val_share=0.2)
    run.path.mkdir()
    where = image_set.find(tree, choice)
    replace(scanned(tree, "train"), rule=where.data.rule("val")).save(run.manifest("val"))
    assert session.cautions(where, run) == []
    assert session.cautions(where, None) == []
    for other in (image_set.find(tree, Layout(val_share=0.3)), image_set.find(tree / "train")):
        (line,) = session.cautions(other, run)
        assert line.endswith(
            "that the run was trained on count, too; its own choice was: folder train, --val-share 0.2"
        )
