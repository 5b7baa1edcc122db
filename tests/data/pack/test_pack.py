import dataclasses
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog import listing as listings
from data.catalog import shards, tree
from data.catalog.listing import Listing
from data.catalog.pack_record import RECORD, PackOptions
from data.output_folder import RefusedError
from data.pack import pack
from data.pack.pack import Written

ROOT = Path(__file__).parents[3]
OPTIONS = PackOptions(shard_images=7)
SIZES = [(40, 30), (30, 40), (80, 120), (64, 64)]


def picture(number: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    rng = np.random.default_rng(number)
    shape = (3, 4) + (() if mode == "L" else (len(mode),))
    stream = BytesIO()
    image = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode)
    image.resize(SIZES[number % len(SIZES)]).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images of 3 classes, one of each kind that is not a JPEG in colour."""
    root = tmp_path_factory.mktemp("source")
    for number in range(30):
        path = root / "train" / ("cat", "dög", "fly catcher")[number % 3] / f"{number:02d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode, kind = {3: ("CMYK", "JPEG"), 4: ("L", "JPEG"), 10: ("RGB", "PNG")}.get(number, ("RGB", "JPEG"))
        path.write_bytes(picture(number, mode, kind))
    return root


def write(source: Path, out: Path, options: PackOptions = OPTIONS, workers: int = 1) -> Written:
    return pack.write(tree.read(source / "train").listing(), out, "train", options, workers)


def options(**changes: float | None) -> PackOptions:
    return dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]


def contents(root: Path) -> dict[str, bytes]:
    """All files, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def images(listing: Listing) -> dict[tuple[str, str], bytes]:
    """Contents by class and name."""
    return {
        (listing.classes[entry.target], entry.name): listings.read(listing.path(entry), entry.offset, entry.size)
        for entry in listing.entries
    }


@pytest.fixture(scope="module")
def packed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source in shards."""
    out = tmp_path_factory.mktemp("packed") / "out"
    write(source, out)
    return out


def test_every_image_is_in_a_shard_byte_for_byte(source: Path, packed: Path) -> None:
    assert images(shards.listing(packed, "train")) == images(tree.read(source / "train").listing())
    assert shards.listing(packed, "train").classes == ("cat", "dög", "fly catcher")


def test_the_folder_has_the_layout_that_was_promised(packed: Path) -> None:
    names = [f"train/train-{number:06d}.{kind}" for number in range(5) for kind in ("idx", "tar")]
    assert sorted(contents(packed)) == ["classes.txt", "pack.json", *names]
    assert (packed / "classes.txt").read_text() == "cat\ndög\nfly catcher\n"
    assert [len((packed / name).read_text().splitlines()) - 1 for name in names[::2]] == [6] * 5


def test_the_images_are_mixed_by_the_seed(source: Path, packed: Path, tmp_path: Path) -> None:
    write(source, tmp_path / "other", options(seed=1))
    orders: list[list[str]] = []
    for root in (packed, tmp_path / "other"):
        listing = shards.listing(root, "train")
        stored = sorted(listing.entries, key=lambda entry: (entry.archive, entry.offset))
        orders.append([entry.name for entry in stored])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1] != sorted(orders[0])
    assert len({name.partition("/")[0] for name in orders[0][:6]}) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_options_give_the_same_bytes_whatever_the_workers(
    source: Path, packed: Path, tmp_path: Path, workers: int
) -> None:
    write(source, tmp_path / "again", workers=workers)
    assert contents(tmp_path / "again") == contents(packed)


def test_larger_images_are_scaled_down_and_the_others_kept(source: Path, tmp_path: Path) -> None:
    written = write(source, tmp_path / "out", options(resize=48))
    assert (written.images, written.resized) == (30, 14)
    original = images(tree.read(source / "train").listing())
    found = images(shards.listing(tmp_path / "out", "train"))
    for key, content in found.items():
        with Image.open(BytesIO(content)) as image, Image.open(BytesIO(original[key])) as before:
            assert (content == original[key]) == (min(before.size) <= 48)
            assert min(image.size) == min(48, *before.size)


def test_the_record_says_what_was_made_and_how(packed: Path) -> None:
    record = json.loads((packed / RECORD).read_text())
    assert {key: record[key] for key in ("schema", "resize", "quality", "shard_images", "seed")} == {
        "schema": 1, "resize": None, "quality": 90, "shard_images": 7, "seed": 0,
    }  # fmt: skip
    split = record["splits"]["train"]
    sizes = {path.name: path.stat().st_size for path in (packed / "train").glob("*.tar")}
    assert (split["complete"], split["images"], split["resized"], split["broken"]) == (True, 30, 0, [])
    assert {shard["name"]: shard["bytes"] for shard in split["shards"]} == sizes
    assert split["bytes"] == sum(sizes.values())


def test_both_splits_go_into_one_folder(source: Path, packed: Path, tmp_path: Path) -> None:
    out = shutil.copytree(packed, tmp_path / "out")
    pack.write(tree.read(source / "train").listing(), out, "val", OPTIONS, 1)
    assert images(shards.listing(out, "val")) == images(shards.listing(out, "train"))
    assert {"train", "val"} == json.loads((out / RECORD).read_text())["splits"].keys()
    assert write(source, out).new == 0


def test_a_complete_pack_is_left_alone(source: Path, packed: Path) -> None:
    before, times = contents(packed), {path: path.stat().st_mtime_ns for path in packed.rglob("*")}
    assert write(source, packed) == dataclasses.replace(write(source, packed), new=0)
    assert contents(packed) == before
    assert {path: path.stat().st_mtime_ns for path in packed.rglob("*")} == times


@pytest.mark.parametrize("lost", ["train-000002.tar", "train-000002.idx"])
def test_a_file_that_was_lost_is_written_again(source: Path, packed: Path, tmp_path: Path, lost: str) -> None:
    out = shutil.copytree(packed, tmp_path / "out")
    (out / "train" / lost).unlink()
    if lost.endswith(".tar"):
        with pytest.raises(shards.ShardError, match=r"train-000002\.tar is missing \(1 of 5\); run the same pack"):
            shards.listing(out, "train")
    write(source, out)
    assert contents(out) == contents(packed)


def test_a_shard_that_is_not_ours_is_told(packed: Path, tmp_path: Path) -> None:
    out = shutil.copytree(packed, tmp_path / "out")
    shutil.copy(out / "train/train-000000.tar", out / "train/more.tar")
    with pytest.raises(shards.ShardError, match=r"more\.tar is no part of what pack\.json says was packed"):
        shards.listing(out, "train")


def test_progress_counts_every_image_once(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack.write(
        tree.read(source / "train").listing(),
        tmp_path / "out",
        "train",
        OPTIONS,
        1,
        lambda *counts: seen.append(counts),
    )
    assert seen == [(done, 30) for done in (0, 6, 12, 18, 24, 30)]


def stop_after(shards_done: int) -> Callable[[int, int], None]:
    def stop(done: int, _: int) -> None:
        if done >= 6 * shards_done:
            raise KeyboardInterrupt

    return stop


def test_an_interrupted_pack_goes_on_with_the_shards_that_are_missing(
    source: Path, packed: Path, tmp_path: Path
) -> None:
    out, listing = tmp_path / "out", tree.read(source / "train").listing()
    with pytest.raises(KeyboardInterrupt):
        pack.write(listing, out, "train", OPTIONS, 1, stop_after(3))
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert len(kept) == 3
    with pytest.raises(shards.ShardError, match="train is not packed to its end; run the same `provenet pack`"):
        shards.listing(out, "train")
    assert write(source, out).new == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(out) == contents(packed)


def test_a_shard_that_was_damaged_meanwhile_is_written_again(source: Path, packed: Path, tmp_path: Path) -> None:
    out, listing = tmp_path / "out", tree.read(source / "train").listing()
    with pytest.raises(KeyboardInterrupt):
        pack.write(listing, out, "train", OPTIONS, 1, stop_after(3))
    with (out / "train/train-000001.tar").open("r+b") as file:
        file.seek(700)
        file.write(b"\0\0\0\0")
    journal = out / ".pack-train.jsonl"
    journal.write_text(journal.read_text() + '{"name": "train-0000')  # torn by a power cut
    assert write(source, out).new == 3
    assert contents(out) == contents(packed)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_pack_is_finished_to_the_same_bytes(tmp_path: Path, workers: int) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for split in ("train", "val"):
        (source / split / "cat").mkdir(parents=True)
        for number in range(60 if split == "train" else 1):
            (source / split / "cat" / f"{number}.jpg").write_bytes(picture(number))
    flags = ("--shard-images", "2", "--resize", "48", "--workers", str(workers))
    command = [sys.executable, "-m", "launch", "pack", str(source), str(out), *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as process:
        end, journal = time.monotonic() + 60, out / ".pack-train.jsonl"
        while not journal.exists() or journal.read_text().count("\n") < 3:  # shards that a worker has written and told
            assert time.monotonic() < end
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    small = PackOptions(shard_images=2, resize=48)
    written = write(source, out, small)
    assert 0 < written.new < 30
    write(source, tmp_path / "whole", small)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_killed_worker_ends_the_pack_and_another_finishes_it(source: Path, packed: Path, tmp_path: Path) -> None:
    def kill_a_worker(*_: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(BrokenExecutor):
        pack.write(tree.read(source / "train").listing(), tmp_path / "out", "train", OPTIONS, 2, kill_a_worker)
    write(source, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(packed)


def test_two_packs_in_one_folder_do_not_meet(source: Path, packed: Path, tmp_path: Path) -> None:
    def second(done: int, _: int) -> None:
        if done == 6:
            with pytest.raises(RefusedError, match="another process is writing this data set"):
                write(source, tmp_path / "out")

    pack.write(tree.read(source / "train").listing(), tmp_path / "out", "train", OPTIONS, 1, second)
    assert contents(tmp_path / "out") == contents(packed)
