"""Parquet files as Hugging Face's `datasets` writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.output_folder import RefusedError
from data.prepare import imagenet
from data.prepare.imagenet import Archives
from tests.data import archives

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
from data.prepare import parquet  # noqa: E402

Rows = Sequence[tuple[str | None, bytes, object]]


def write(file: Path, rows: Rows, names: Sequence[str] = (), group: int = 3, **more: Sequence[Any]) -> None:
    """Columns `image` of {bytes, path} and `label`, whose classes may have names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": content, "path": path} for path, content, _ in rows]
    table = pa.table({"image": images, "label": [label for *_, label in rows], **more})
    features = {"label": {"names": list(names), "_type": "ClassLabel"}} if names else {}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), file, row_group_size=group)


def hub(folder: Path) -> dict[str, Path]:
    """The images of `archives.imagenet` as the hub has them; returns the official archives of the same."""
    paths = archives.imagenet(folder / "archives")
    wnids = sorted(archives.CLASSES)
    train = [
        (f"{name.removesuffix('.JPEG')}_{wnid}.JPEG", content, wnids.index(wnid))
        for wnid, files in archives.train_images().items()
        for name, content in files.items()
    ]
    by_id = {number: wnid for wnid, number in archives.CLASSES.items()}
    val = [
        (f"{name.removesuffix('.JPEG')}_{by_id[truth]}.JPEG", content, wnids.index(by_id[truth]))
        for (name, content), truth in zip(archives.val_images().items(), archives.TRUTH, strict=True)
    ]
    names = ("tench, Tinca tinca", "red/white fox", "bonnet")
    write(folder / "hub/data/train-00000-of-00002.parquet", train[:7], names)
    write(folder / "hub/data/train-00001-of-00002.parquet", train[7:], names)
    write(folder / "hub/data/validation-00000-of-00001.parquet", val, names)
    write(folder / "hub/data/test-00000-of-00001.parquet", [("ILSVRC2012_test_1.JPEG", b"x", -1)], names)
    return paths


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*/*") if file.is_file()}


def test_the_hub_s_files_become_the_tree_of_the_official_archives(tmp_path: Path) -> None:
    paths = hub(tmp_path)
    official = Archives(train_tar=paths["train_tar"], val_tar=paths["val_tar"], devkit=paths["devkit"])
    expected = imagenet.prepare(tmp_path / "official", official, partial=True, workers=1)
    prepared = parquet.prepare(tmp_path / "out", tmp_path / "hub", partial=True, workers=1)
    assert (prepared.contents, prepared.written) == (expected.contents, 18)
    assert contents(tmp_path / "out") == contents(tmp_path / "official")


def test_what_is_missing_is_written_and_nothing_else(tmp_path: Path) -> None:
    hub(tmp_path)
    out = tmp_path / "out"
    parquet.prepare(out, tmp_path / "hub", partial=True, workers=1)
    whole = contents(out)
    assert parquet.prepare(out, tmp_path / "hub", partial=True, workers=1).written == 0
    record = json.loads((out / "prepare.json").read_text())
    del record["contents"]  # as a kill leaves it
    (out / "prepare.json").write_text(json.dumps(record))
    first, second, third = [out / name for name in sorted(whole)[:3]]
    first.unlink()
    second.write_bytes(b"")
    kept = third.stat().st_ino
    assert parquet.prepare(out, tmp_path / "hub", partial=True, workers=1).written == 2
    assert (contents(out), third.stat().st_ino) == (whole, kept)


def test_any_images_and_labels_become_a_tree(tmp_path: Path) -> None:
    rows = [("a/x.png", archives.jpeg(1), 1), ("b/x.png", archives.jpeg(2), 1), (None, archives.jpeg(3), 0)]
    write(tmp_path / "hub/train.parquet", [*rows, (None, archives.jpeg(4), None)], ("cat", "dog/wolf"))
    write(
        tmp_path / "hub/test.parquet",
        [(None, archives.jpeg(5), 0), ("y.jpg", archives.jpeg(6), 1)],
        ("cat", "dog/wolf"),
    )
    prepared = parquet.prepare(tmp_path / "out", tmp_path / "hub", partial=True, workers=1)
    assert contents(tmp_path / "out") == {
        "train/cat/train-00001-0000002.jpg": archives.jpeg(3),
        "train/dog_wolf/x.png": archives.jpeg(1),
        f"train/dog_wolf/{parquet.MOST_ROWS + 1}-x.png": archives.jpeg(2),
        "val/cat/val-00000-0000000.jpg": archives.jpeg(5),
        "val/dog_wolf/y.jpg": archives.jpeg(6),
    }
    assert prepared.notes == ("1 images without a label were left out",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("crane", "owl", "crane"), {"crane_00000", "crane_00002", "owl_00001"}),
        (("a/b", "a_b", "c"), {"a_b_00000", "a_b_00001", "c_00002"}),
        ((".", "a", "b"), {"_00000", "a_00001", "b_00002"}),
    ],
)
def test_classes_of_one_name_stay_apart(tmp_path: Path, names: tuple[str, ...], expected: set[str]) -> None:
    for split in ("train", "test"):
        rows = [(None, archives.jpeg(number), number) for number in range(3)]
        write(tmp_path / f"hub/{split}.parquet", rows, names)
    parquet.prepare(tmp_path / "out", tmp_path / "hub", partial=True, workers=1)
    assert {folder.name for folder in (tmp_path / "out/train").iterdir()} == expected


def test_labels_may_be_texts_or_bare_numbers_and_images_bare_bytes(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        table = pa.table({"jpg": [archives.jpeg(1), archives.jpeg(2)], "cls": ["b", "a"], "width": [3, 4]})
        (tmp_path / "texts" / split).mkdir(parents=True)
        pq.write_table(table, tmp_path / "texts" / split / "0000.parquet")
        write(tmp_path / "numbers" / f"{split}.parquet", [(None, archives.jpeg(1), 10), (None, archives.jpeg(2), 9)])
    for name in ("texts", "numbers"):
        parquet.prepare(tmp_path / "out" / name, tmp_path / name, partial=True, workers=1)
    folders = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/train/*")}
    assert folders == {"texts/train/a", "texts/train/b", "numbers/train/00009", "numbers/train/00010"}


def test_what_cannot_be_used_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    hub(tmp_path)
    data = tmp_path / "hub/data"

    def refusal(folder: Path = tmp_path / "hub", *, partial: bool = True) -> str:
        with pytest.raises(RefusedError) as refused:
            parquet.prepare(tmp_path / "out", folder, partial=partial, workers=1)
        assert not (tmp_path / "out").exists()
        return str(refused.value)

    assert "--parquet: classes: 3, train images: 12, val images: 6; ImageNet has 1,000, 1,281,167 and 50,000; " in (
        refusal(partial=False)
    )
    assert refusal(tmp_path / "archives").count("files like") == 2
    write(data / "train-00001-of-00002.parquet", [("x.jpg", b"", 0)])
    assert "train-00001-of-00002.parquet: row 0 holds no image" in refusal()
    write(data / "train-00001-of-00002.parquet", [("x.jpg", b"x", 0)], thumbnail=[b"x"])
    assert "has the columns image, label, thumbnail; expected one of images and one called label" in refusal()
    write(data / "train-00001-of-00002.parquet", [("x.jpg", b"x", 7)])
    assert "--parquet: 00007, bonnet: in one of train and val only" in refusal()
    (data / "train-00001-of-00002.parquet").write_bytes(b"PAR1 cut short")
    assert "train-00001-of-00002.parquet: Parquet magic bytes not found" in refusal()
    (data / "train-00001-of-00002.parquet").unlink()
    assert f"--parquet: lacks train-00001-of-00002.parquet; download {parquet.SITE}" in refusal()
