import os
from pathlib import Path

import pytest

from data.catalog import unlabelled
from data.catalog.unlabelled import UnusableImagesError
from tests.data import archives


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and files, by their names alone: nothing is decoded."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.jpg", "photos/deep/er/c.PNG", "photos/a.jpg", "photos/notes.md", "lone.jpg", "other.dat"):
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    Path("list.txt").write_bytes(b"photos/b.jpg\r\n\nlone.jpg\n" + os.fsencode("caf\udce9.jpg"))
    Path(os.fsdecode(b"caf\xe9.jpg")).touch()
    Path("shards").mkdir()
    for number in range(2):
        files = {f"x/{number}.jpg": b"", f"x/{number}.cls": b"0", f"._{number}.jpg": b"", f"{number}.txt": b""}
        Path(f"shards/{number}.tar").write_bytes(archives.tar(files))
    for name in ("shards/.cache", "shards/__MACOSX"):  # no part of any data set
        Path(name).mkdir()
        Path(name, "0.tar").write_bytes(archives.tar({"no.jpg": b""}))
    for name in ("bare", "mixed"):
        Path(name).mkdir()
    Path("mixed/a.jpg").touch()
    Path("mixed/b.tar").write_bytes(archives.tar({}))
    Path("none.tar").write_bytes(archives.tar({"a.txt": b""}))
    Path("torn.tar").write_bytes(archives.tar({"a.jpg": b"x" * 2000})[:1000])
    Path("lines.txt").write_text("photos/a.jpg\nlost.jpg\n")
    Path("empty.txt").touch()


IN_ORDER = {
    "a folder, sorted": (["photos"], ["photos/a.jpg", "photos/b.jpg", "photos/deep/er/c.PNG"]),
    "the folder one stands in": (["./photos/deep/."], ["photos/deep/er/c.PNG"]),
    "files as given": (["other.dat", "photos/b.jpg", "photos/a.jpg"], ["other.dat", "photos/b.jpg", "photos/a.jpg"]),
    "a list": (["list.txt", "photos/a.jpg"], ["photos/b.jpg", "lone.jpg", "caf\udce9.jpg", "photos/a.jpg"]),
    "shards": (["shards"], ["shards/0.tar: x/0.jpg", "shards/1.tar: x/1.jpg"]),
    "one shard": (["shards/1.tar"], ["shards/1.tar: x/1.jpg"]),
}


@pytest.mark.parametrize("case", IN_ORDER)
def test_images_come_in_the_order_in_which_they_are_named(case: str) -> None:
    words, expected = IN_ORDER[case]
    listing = unlabelled.listing(words)
    tars = listing.archives
    assert [f"{tars[entry.archive]}: {entry.name}" if tars else entry.name for entry in listing.entries] == expected
    assert all(listing.path(entry).is_file() for entry in listing.entries)
    assert {entry.target for entry in listing.entries} == {0}


def test_what_is_left_out_is_said() -> None:
    assert unlabelled.listing(["photos"]).notes == ("photos: left out: .md 1",)
    kinds = ".cls 2, hidden 2, .txt 2"
    assert unlabelled.listing(["shards"]).notes == (f"in the archives, left out: {kinds}",)


REFUSALS = {
    "no path": ([], "no image is named; name images, folders"),
    "nothing there": (["lost", "photos", "gone"], "lost does not exist; name images"),
    "lost of a list": (["lines.txt"], "^lost.jpg does not exist"),
    "empty list": (["empty.txt"], "no image is named"),
    "empty folder": (["bare"], "bare holds no image"),
    "device": (["/dev/null"], "/dev/null is no file and no folder"),
    "both kinds": (["mixed"], "mixed/b.tar is an archive and mixed/a.jpg is not; name one kind"),
    "archive without images": (["none.tar"], "no image is named in the archives"),
    "torn archive": (["torn.tar"], "torn.tar: a.jpg: the archive ends before this file does"),
    "twice": (["photos", "photos/deep/../a.jpg"], "photos/a.jpg is named twice; name each image once"),
    "line feed": (["lo\nst"], r"lo\\nst does not exist"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_read_is_refused_by_its_name(case: str) -> None:
    words, expected = REFUSALS[case]
    with pytest.raises(UnusableImagesError, match=expected):
        unlabelled.listing(words)
