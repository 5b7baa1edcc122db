import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from data.catalog import dataset, tree
from data.catalog.listing import Contents


def make(root: Path, **classes: dict[str, int]) -> Path:
    """Folders root/split/class with so many images."""
    for split, counts in classes.items():
        for name, count in counts.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8)).save(folder / f"{number}.JPEG")
    return root


def test_classes_and_images_are_sorted_and_subfolders_are_read(tmp_path: Path) -> None:
    make(tmp_path, train={"b": 2, "a": 1, ".hidden": 1})
    (tmp_path / "train" / "a" / "more").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "train" / "a" / "more" / "x.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    found = tree.read(tmp_path / "train")
    assert found.classes == ("a", "b")
    assert [entry.name for entry in found.listing().entries if entry.target == 0] == ["a/0.JPEG", "a/more/x.png"]
    assert [entry.name for entry in found.listing().entries if entry.target == 1] == ["b/0.JPEG", "b/1.JPEG"]
    assert (found.count(10), found.count(2)) == (4, 2)


def test_a_link_to_nothing_is_listed_and_a_pipe_is_not(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1})
    (tmp_path / "train" / "a" / "lost.jpg").symlink_to("nowhere")
    (tmp_path / "train" / "a" / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "train" / "a" / "pipe.jpg")
    (tmp_path / "train" / "a" / "to pipe.jpg").symlink_to("pipe.jpg")
    (tmp_path / "train" / "a" / "to zeros.jpg").symlink_to("/dev/zero")
    names = [entry.name for entry in tree.read(tmp_path / "train").listing().entries]
    assert names == ["a/0.JPEG", "a/lost.jpg", "a/self.jpg"]


def test_the_listing_has_every_image_by_class_and_name(tmp_path: Path) -> None:
    make(tmp_path, train={"b": 2, "a b": 1, "a": 1, "empty": 0})
    make(tmp_path / "train", a={"deep": 1, "x.jpg": 1})
    found = tree.read(tmp_path / "train").listing()
    assert (found.root, found.classes) == (tmp_path / "train", ("a", "a b", "b", "empty"))
    assert [(entry.target, entry.name) for entry in found.entries] == [
        (0, "a/0.JPEG"),
        (0, "a/deep/0.JPEG"),
        (0, "a/x.jpg/0.JPEG"),
        (1, "a b/0.JPEG"),
        (2, "b/0.JPEG"),
        (2, "b/1.JPEG"),
    ]
    assert found.path(found.entries[1]) == tmp_path / "train/a/deep/0.JPEG"


def test_the_listing_has_the_time_of_every_folder(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1, "b": 1, ".hidden": 1})
    (tmp_path / "train/a/deep").mkdir()
    for number, name in enumerate(("a/deep", "a", "b", "")):
        os.utime(tmp_path / "train" / name, ns=(number, number))
    assert tree.read(tmp_path / "train").listing().folders == {"": 3, "a": 1, "a/deep": 0, "b": 2}


def test_a_folder_that_is_called_an_image_and_holds_none_is_listed_to_be_found_broken(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1})
    (tmp_path / "train/a/9.JPEG").mkdir()
    (tmp_path / "train/a/folder").mkdir()
    assert [entry.name for entry in tree.read(tmp_path / "train").listing().entries] == ["a/0.JPEG", "a/9.JPEG"]


def test_a_missing_root_and_a_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "does not exist" in str(dataset.find(tmp_path / "nothing").misplaced())
    assert "is not a folder" in str(dataset.find(tmp_path / "file").misplaced())


def test_the_folder_above_the_right_one_points_to_it(tmp_path: Path) -> None:
    make(tmp_path / "ILSVRC", train={"a": 1}, val={"a": 1})
    assert f"{tmp_path / 'ILSVRC'} has both" in str(dataset.find(tmp_path).misplaced())
    assert dataset.find(tmp_path / "ILSVRC").misplaced() is None


def test_images_are_counted_no_further_than_asked_and_empty_classes_named(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 3, "b": 0, "c": 2})
    found = tree.read(tmp_path / "train")
    assert found.contents(4) == Contents(tmp_path / "train", ("a", "b", "c"), ["b"], 4)
    assert found.contents(9) == found.listing().contents()


def test_a_listing_tells_how_many_classes_are_done(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "train" / name).mkdir(parents=True)
    seen: list[tuple[int, int]] = []
    tree.read(tmp_path / "train").listing(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_a_system_puts_beside_files_is_left_out_at_every_depth_and_counted(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1, "@eaDir": 1, "__MACOSX": 1, "lost+found": 0, ".ipynb_checkpoints": 1})
    make(tmp_path / "train", a={"@eaDir": 1, ".ipynb_checkpoints": 1})
    make(tmp_path / "train/a", deep={"__MACOSX": 1})
    for name in ("a/._0.JPEG", "a/Thumbs.db", "a/deep/.DS_Store", "a/notes.txt", "a/more.TXT", "a/README", "b.jpg"):
        (tmp_path / "train" / name).write_bytes(b"nothing")
    found = tree.read(tmp_path / "train").listing()
    assert (found.classes, [entry.name for entry in found.entries]) == (("a",), ["a/0.JPEG"])
    assert set(found.folders) == {"", "a", "a/deep"}
    kinds = "hidden 10, .txt 2, images outside of the class folders 1, without extension 1"
    assert found.notes == (f"{tmp_path / 'train'}: left out: {kinds}",)
    assert make(tmp_path, val={"a": 1}) and tree.read(tmp_path / "val").listing().notes == ()


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.gif", "x.avif", "x", "x.2012", "x.bin", "x.jpg_large", "x.JPG"])
def test_files_that_hold_images_are_listed_whatever_their_extension(tmp_path: Path, name: str) -> None:
    file = tmp_path / "train/a" / name
    file.parent.mkdir(parents=True)
    kind = {".gif": "GIF", ".avif": "AVIF"}.get(file.suffix, "JPEG")
    Image.new("RGB", (8, 8)).save(file, kind)
    assert [entry.name for entry in tree.read(tmp_path / "train").listing().entries] == [f"a/{name}"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF"])
def test_an_image_without_a_name_for_it_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "train/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "train/a/x", kind)
    (tmp_path / "train/a/y").write_bytes(b"P8 is no image, nor is BM or RIFF\n")
    assert [entry.name for entry in tree.read(tmp_path / "train").listing().entries] == ["a/x"]


def test_a_link_to_a_folder_above_is_walked_once(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1, "b": 1})
    (tmp_path / "train/a/self").symlink_to(".")
    (tmp_path / "train/a/up").symlink_to("..")
    (tmp_path / "train/a/out").symlink_to(tmp_path)
    shutil.copytree(tmp_path / "train/b", tmp_path / "other/deep")
    (tmp_path / "train/b/other").symlink_to(tmp_path / "other")
    names = [entry.name for entry in tree.read(tmp_path / "train").listing().entries]
    assert names == ["a/0.JPEG", "b/0.JPEG", "b/other/deep/0.JPEG"]
    assert tree.Tree(tmp_path / "train", ("a/self",)).count(9) == 0


def test_a_data_set_may_be_named_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, train={"a": 1, "b": 1})
    monkeypatch.chdir(tmp_path / "train/a")
    assert [entry.name for entry in tree.read(Path("../..") / "train").listing().entries] == ["a/0.JPEG", "b/0.JPEG"]
    assert tree.files(Path("../a"))[0] == tree.files(Path())[0] == ["0.JPEG"]
