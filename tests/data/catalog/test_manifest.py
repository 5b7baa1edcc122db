import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.catalog import manifest, tree
from data.catalog.formats import JPEG, RAW, RGB
from data.catalog.manifest import COLUMNS, DamagedManifestError, Manifest
from data.types import BrokenImage
from data.verify import verify

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat", "dög", os.fsdecode(b"\xff")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (30 + number, 20)).save(tmp_path / "train" / name / f"{number}.JPEG")
    return tmp_path


def scan(root: Path) -> Manifest:
    return verify.scan(tree.read(root / "train").listing(), workers=1).manifest


def test_what_is_saved_loads_as_the_same(root: Path) -> None:
    (root / "train/cat/0.JPEG").write_bytes(b"")
    found = scan(root)
    found.save(root / "m.npz")
    loaded = manifest.load(root / "m.npz", root / "train")
    for name in COLUMNS:
        assert getattr(loaded, name).dtype == getattr(found, name).dtype
        assert getattr(loaded, name).tolist() == getattr(found, name).tolist()
    assert (loaded.classes, loaded.folders) == (found.classes, ("", "cat", "dög", os.fsdecode(b"\xff")))
    assert loaded.broken == found.broken == (BrokenImage("cat/0.JPEG", "the file is empty"),)
    assert loaded.fingerprint() == found.fingerprint()
    assert loaded.path(7) == root / "train" / os.fsdecode(b"\xff/2.JPEG")


def test_an_empty_list_is_one_too(root: Path) -> None:
    for file in (root / "train").rglob("*.JPEG"):
        file.unlink()
    scan(root).save(root / "m.npz")
    assert len(manifest.load(root / "m.npz", root / "train")) == 0


def test_the_fingerprint_follows_the_images_and_not_their_place_or_time(root: Path) -> None:
    first = scan(root).fingerprint()
    shutil.copytree(root / "train", root / "moved" / "train", copy_function=shutil.copyfile)
    assert scan(root / "moved").fingerprint() == first
    (root / "moved/train/cat/0.JPEG").rename(root / "moved/train/cat/zero.JPEG")
    assert scan(root / "moved").fingerprint() != first
    (root / "moved/train/cat/zero.JPEG").rename(root / "moved/train/cat/0.JPEG")
    Image.new("RGB", (30, 20), "red").save(root / "moved/train/cat/0.JPEG")
    assert scan(root / "moved").fingerprint() != first


def test_another_version_s_file_is_refused(root: Path) -> None:
    np.savez(root / "m.npz", schema=99)
    with pytest.raises(
        DamagedManifestError,
        match=r"m.npz: schema 99, this version reads up to 3; .*, or delete it: it will be written again",
    ):
        manifest.load(root / "m.npz", root / "train")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_file_is_refused_and_named(root: Path, share: float) -> None:
    file = root / "m.npz"
    scan(root).save(file)
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(DamagedManifestError, match=rf"{file} is no manifest: .*; delete it: it will be written again"):
        manifest.load(file, root / "train")


def test_a_changed_byte_is_noticed(root: Path) -> None:
    file = root / "m.npz"
    scan(root).save(file)
    content = bytearray(file.read_bytes())
    content[content.index(b"targets.npy") + 150] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedManifestError, match="Bad CRC"):
        manifest.load(file, root / "train")


@pytest.mark.parametrize(("offset", "value"), [(6, 200), (8, 1), (10, 99)], ids=["version", "encrypted", "method"])
def test_a_damaged_table_of_contents_is_noticed_whatever_zipfile_raises(root: Path, offset: int, value: int) -> None:
    file = root / "m.npz"
    scan(root).save(file)
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\1\2") + offset] = value
    file.write_bytes(content)
    with pytest.raises(DamagedManifestError, match="is no manifest"):
        manifest.load(file, root / "train")


@pytest.mark.parametrize("content", [b"no list at all", b"\x80\x04N.", b"\x93NUMPY"])
def test_another_kind_of_file_is_refused(root: Path, content: bytes) -> None:
    (root / "m.npz").write_bytes(content)
    with pytest.raises(DamagedManifestError, match="is no manifest"):
        manifest.load(root / "m.npz", root / "train")


def text(*names: bytes) -> dict[str, Any]:
    """The columns of the names of nine images."""
    every = [*names, *(b"n%d" % number for number in range(9 - len(names)))]
    return {"names": np.frombuffer(b"".join(every), np.uint8), "ends": np.cumsum([len(name) for name in every])}


def changed(column: str, row: int, value: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(stored: dict[str, Any]) -> dict[str, Any]:
        values = stored[column].astype(np.int64)
        values[row] = value
        return {column: values}

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda stored: {"targets": stored["targets"][:-1]}, r"widths has the shape \(9,\), not \(8,\)"),
        (lambda stored: {"hashes": stored["hashes"][:, :3]}, "hashes has the shape"),
        (lambda stored: {"folder_mtimes": stored["folder_mtimes"][1:]}, "folder_mtimes has the shape"),
        (changed("targets", 8, 3), "targets goes from 0 to 3, beyond 0 to 2"),
        (changed("targets", 0, -1), "targets goes from -1 to 2, beyond 0 to 2"),
        (changed("widths", 4, 0), "widths goes from 0 "),
        (changed("sizes", 4, 1 << 62), "sizes goes from "),
        (changed("archive", 4, 1), "archive goes from 0 to 1, beyond 0 to 0"),
        (changed("formats", 4, RAW), "raw pixels have another size"),
        (changed("ends", 4, 1), "ends do not rise"),
        (lambda _: text(b"../../etc/passwd.JPEG"), r"\.\./\.\./etc/passwd.JPEG leads out"),
        (lambda _: text(b"cat/0.JPEG", b"cat/x/.."), r"cat/x/\.\. leads out"),
        (lambda _: text(b"a", b"/etc/passwd.JPEG"), "/etc/passwd.JPEG leads out"),
        (lambda _: text(b"a\0b"), r"a\\x00b leads out"),
        (lambda _: {"folders": np.array(["", "/etc", "a", "b"])}, "/etc leads out"),
        (lambda _: {"archives": np.array(["../a.tar"]), "archive_sizes": np.array([1 << 40])}, r"\.\./a.tar leads out"),
        (lambda _: {"archives": np.array(["a.tar"]), "archive_sizes": np.array([1])}, "ends behind its archive"),
        (lambda _: {"classes": np.array(["a", "b", "\ud800"])}, "surrogates not allowed"),
        (lambda stored: {"targets": stored["targets"].astype(float)}, "Cannot cast"),
        (lambda _: {"targets": np.array([None] * 9)}, "Object arrays cannot be loaded when allow_pickle=False;"),
    ],
)
def test_columns_that_contradict_each_other_or_lead_elsewhere_are_refused(
    root: Path, change: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    file = root / "m.npz"
    scan(root).save(file)
    with np.load(file) as whole:
        stored = dict(whole)
    np.savez(file, **{**stored, **change(stored)})
    with pytest.raises(DamagedManifestError, match=rf"{file} is no manifest: .*{reason}"):
        manifest.load(file, root / "train")


def test_two_dots_in_a_name_are_no_way_out(root: Path) -> None:
    (root / "train/cat/0.JPEG").rename(root / "train/cat/0..0..JPEG")
    scan(root).save(root / "m.npz")
    assert manifest.load(root / "m.npz", root / "train").name(0) == "cat/0..0..JPEG"


def test_a_small_file_unpacks_to_no_gigabyte(root: Path) -> None:
    scan(root).save(root / "m.npz")
    with np.load(root / "m.npz") as whole:
        np.savez_compressed(root / "m.npz", **dict(whole))
    with pytest.raises(DamagedManifestError, match="compressed, as no manifest is"):
        manifest.load(root / "m.npz", root / "train")


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(root: Path) -> None:
    (root / "m.npz").mkdir()
    before = sorted(root.iterdir())
    with pytest.raises(OSError, match=rf"Is a directory: '{root}/m.npz'"):
        scan(root).save(root / "m.npz")
    assert sorted(root.iterdir()) == before


def imagenet(root: Path, total: int = 1_280_000) -> Manifest:
    """As many entries as ImageNet, with names as long."""
    rng = np.random.default_rng(0)
    names = np.tile(np.frombuffer(b"n00000000/n00000000_00000000.JPEG", np.uint8), (total, 1))
    for start, number in ((1, np.arange(total) // 1280), (11, np.arange(total) // 1280), (20, np.arange(total))):
        names[:, start : start + 8] += (number[:, None] // 10 ** np.arange(7, -1, -1) % 10).astype(np.uint8)
    constant = {"offsets": 0, "archive": 0, "formats": JPEG, "modes": RGB, "orientations": 0}
    columns: dict[str, Any] = {name: np.full(total, value) for name, value in constant.items()}
    return Manifest(
        root=root,
        classes=tuple(f"n{label:08}" for label in range(1000)),
        archives=(),
        targets=np.arange(total) // 1280,
        widths=rng.integers(100, 4000, total),
        heights=rng.integers(100, 4000, total),
        sizes=rng.integers(5_000, 9_000_000, total),
        mtimes=rng.integers(10**18, 2 * 10**18, total),
        **columns,
        hashes=rng.integers(0, 256, (total, 16), dtype=np.uint8),
        names=names.ravel(),
        ends=np.arange(1, total + 1) * names.shape[1],
    )


LOAD = """
import sys, time
from pathlib import Path
from data.catalog import manifest
found = manifest.load(Path(sys.argv[1]), Path("x"))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = status["VmHWM"].split()[0]  # getrusage's would be the parent's, where that is greater
print(len(found), found.name(len(found) - 1), time.process_time(), peak)
"""


@pytest.mark.slow
def test_as_many_images_as_imagenet_s_load_in_seconds_and_little_memory(tmp_path: Path) -> None:
    imagenet(tmp_path).save(tmp_path / "m.npz")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "m.npz")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    count, last, seconds, kilobytes = done.stdout.split()
    assert (int(count), last) == (1_280_000, "n00000999/n00000999_01279999.JPEG")
    assert float(seconds) < 5  # of the processor, so that what else the machine does is not ours
    assert int(kilobytes) < 1_000_000


def test_a_few_images_are_spread_over_all(root: Path) -> None:
    (root / "train/cat/0.JPEG").write_bytes(b"")
    whole = scan(root)
    few = whole.spread(3)
    assert [few.name(row) for row in range(3)] == [whole.name(row) for row in (0, 4, 7)]  # of 8, evenly
    assert few.targets.tolist() == [0, 1, 2]
    assert (few.classes, few.broken, few.folders) == (whole.classes, (), whole.folders)
    few.save(root / "few.npz")
    assert manifest.load(root / "few.npz", root / "train").fingerprint() == few.fingerprint()
    assert whole.spread(100).fingerprint() == whole.fingerprint()
    assert len(whole.spread(0)) == 0


def test_a_listing_is_spread_alike(root: Path) -> None:
    listing = tree.read(root / "train").listing()
    assert [entry.name for entry in listing.spread(3).entries] == [listing.entries[place].name for place in (0, 4, 8)]
    assert listing.spread(100) == listing
    assert listing.spread(1).entries == listing.entries[:1]
