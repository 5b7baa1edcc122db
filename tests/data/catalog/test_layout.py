"""Each layout that data/README.md lists, made and listed; and each that is refused, with what to do."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from data.catalog import dataset
from data.catalog.dataset import DataSet
from data.catalog.layout import Layout, part
from data.catalog.listing import SPLITS, Entry, Listing, manifest_file
from data.verify import verify
from data.verify.changes import changed
from tests.data import archives
from tests.data.catalog.test_shards import shard
from tests.data.cifar_files import cifar10

KAGGLE = "ILSVRC/Data/CLS-LOC"
SETS = {"train": "ab", "val": "ab"}


def put(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(archives.jpeg(number))


def folders(root: Path, train: str = "train", val: str = "val") -> None:
    put(root, f"{train}/a/1.jpg", f"{train}/a/2.jpg", f"{train}/b/3.jpg", f"{val}/a/4.jpg", f"{val}/b/5.jpg")


def kaggle(root: Path) -> None:
    put(root, *(f"{KAGGLE}/train/n01/n01_{number}.JPEG" for number in (1, 2)), f"{KAGGLE}/train/n02/n02_3.JPEG")
    put(root / KAGGLE, "val/ILSVRC2012_val_00000004.JPEG", "val/ILSVRC2012_val_00000005.JPEG", "test/x.JPEG")
    boxes = ("ILSVRC2012_val_00000005,n02 85 1 499 272 n02 1 2 3 4 ", "ILSVRC2012_val_00000004,n01 1 -2 3 4")
    (root / "LOC_val_solution.csv").write_text("\n".join(("ImageId,PredictionString", *boxes, "")))


def labelled(text: str, other: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        put(root, "train/1.jpg", "train/more/2.jpg", "train/3.jpg", "train/unnamed.jpg", "val/4.jpg", "val/5.jpg")
        put(root, "train/one/7.jpg", "train/two/7.jpg")  # of which a bare name is that of neither
        (root / "train.csv").write_bytes(text.encode())
        (root / "val.csv").write_text(other)

    return make


def numbered(root: Path) -> None:
    """A folder of images and a file with the class of each."""
    put(root, *(f"{number}.jpg" for number in range(8)))
    (root / "all.txt").write_text("".join(f"{number}.jpg {'ab'[number % 2]}\n" for number in range(8)))


def hub(root: Path) -> None:
    for split, names in (("train", "123"), ("validation", "45")):
        for number, name in enumerate(names):
            files = {f"{name}.jpg": archives.jpeg(number), f"{name}.cls": b"%d" % (number % 2)}
            shard(root / f"imagenet1k-{split}-{number:04}.tar", files)


def named_shards(label: Callable[[str], dict[str, bytes]]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        shard(root / "train/0.tar", {"1.jpg": b"", **label("1.a"), "2.jpg": b"", **label("2.a")})
        shard(root / "train/1.tar", {"3.jpg": b"", **label("3.b")})
        shard(root / "val/0.tar", {"4.jpg": b"", **label("4.a"), "5.jpg": b"", **label("5.b")})

    return make


def in_json(text: str) -> dict[str, bytes]:
    return {f"{text[0]}.json": json.dumps({"width": 9, "label": text[2:]}).encode()}


def others_beside(root: Path) -> None:
    folders(root, val="valid")
    put(root, "test/a/9.jpg", "test/b/8.jpg")


AB = {"train": "12|3", "val": "4|5"}
CSV = labelled("id,breed\n1.jpg,a\nmore/2.jpg,a\n3,b\n9.jpg,b\n7.jpg,b\n", "4.jpg,a\n5.jpg,b\n")
FILES = ("train_labels:train.csv", "val_labels:val.csv")
LAYOUTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], Mapping[str, str]]] = {
    "class folders": (folders, (), AB),
    "valid": (lambda root: folders(root, val="valid"), (), AB),
    "validation": (lambda root: folders(root, val="validation"), (), AB),
    "test": (lambda root: folders(root, val="test"), (), AB),
    "valid before test": (others_beside, (), AB),
    "the folder that is named": (others_beside, ("val_split:test",), AB | {"val": "9|8"}),
    "kaggle": (kaggle, (), AB),
    "kaggle, the folder below": (lambda root: kaggle(root.parent / "comp"), ("at:../comp/ILSVRC",), AB),
    "csv": (CSV, FILES, AB),
    "csv, more columns": (
        labelled(
            "\ufeffpath,width,label,label_name\r\ntrain/1.jpg,9,0,a\r\ntrain/more/2.jpg,8,0,a\r\ntrain/3.jpg,9,1,b\r\n",
            "key,file,class\nx,4.jpg,a\ny,5.jpg,b\n",
        ),
        FILES,
        AB,
    ),
    "tabs": (labelled("3.jpg\tb\n2.jpg\ta\n1.jpg\ta\n", "b;5.jpg\na;4.jpg\n"), FILES, AB),
    "numbers of lines before names": (
        labelled(",file,label\n1,3.jpg,b\n2,1.jpg,a\n3,2.jpg,a\n", "4.jpg,a\n5.jpg,b\n"),
        FILES,
        AB,
    ),
    "absolute paths": (
        lambda root: labelled(
            f"{root}/train/1.jpg,a\n{root}/train/more/2.jpg,a\n{root}/train/3.jpg,b\n", f"{root}/val/4.jpg,a\n5.jpg,b\n"
        )(root),
        FILES,
        AB,
    ),
    "text": (labelled("./train/1.jpg a\nmore/2.jpg  a\n3.jpg b\n", "val/4.jpg a\nval/5.jpg b\n"), FILES, AB),
    "flat and a share": (numbered, ("train_labels:all.txt", "val_share:0.25"), {"train": "0246|1357", "val": ""}),
    "one folder of classes": (
        lambda root: put(root, *(f"{name}/{number}.jpg" for name in "ab" for number in range(10))),
        ("val_share:0.2",),
        {"train": "", "val": ""},
    ),
    "a test without classes": (
        lambda root: put(root, "test/c.jpg", *(f"train/{name}/{number}.jpg" for name in "ab" for number in range(10))),
        ("val_share:0.2",),
        {"train": "", "val": ""},
    ),
    "train alone": (
        lambda root: put(root, *(f"train/{name}/{number}.jpg" for name in "ab" for number in range(10))),
        ("val_share:0.2",),
        {"train": "", "val": ""},
    ),
    "the hub's shards": (hub, (), {"train": "13|2", "val": "4|5"}),
    "shards in one folder and a share": (
        lambda root: shard(
            root / "x-train-0.tar",
            {
                name: content
                for n in range(65, 85)
                for name, content in ((f"{n:c}.jpg", b""), (f"{n:c}.cls", b"%d" % (n % 2)))
            },
        ),
        ("val_share:0.2",),
        {"train": "", "val": ""},
    ),
    "shards with names": (named_shards(lambda text: {f"{text[0]}.cls": text[2:].encode()}), (), AB),
    "shards with json": (named_shards(in_json), (), AB),
    "shards with numbers in json": (
        named_shards(lambda text: {f"{text[0]}.json": b'{"label": %d}' % (text[2] == "b")}),
        (),
        AB,
    ),
}


def opened(root: Path, *words: str) -> DataSet:
    """A data set, in a folder `at` another place, with flags like `val_share:0.1`."""
    flags = dict(word.split(":") for word in words)
    place = root / flags.pop("at", "")
    values = {
        name: float(text) if name == "val_share" else text if name == "val_split" else root / text
        for name, text in flags.items()
    }
    return dataset.find(place, Layout(**values))  # type: ignore[arg-type]


def found(root: Path, *words: str) -> dict[str, Listing]:
    data = opened(root, *words)
    assert data.misplaced() is None
    assert data.problems(root / "none", root / "none", 2, 1) == []
    return {split: data.listing(split) for split in SPLITS}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_listed(name: str, tmp_path: Path) -> None:
    make, flags, expected = LAYOUTS[name]
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    listings = found(root, *flags)
    by_class = {
        split: [
            [entry.name.rpartition(".")[0][-1] for entry in each.entries if entry.target == target]
            for target in range(len(each.classes))
        ]
        for split, each in listings.items()
    }
    assert listings["train"].classes == listings["val"].classes
    if "share" in str(flags):
        train, val = by_class["train"], by_class["val"]
        assert all(held and kept and not {*held} & {*kept} for held, kept in zip(val, train, strict=True))
        assert {sum(map(len, pair)) for pair in zip(train, val, strict=True)} == {4 if "flat" in name else 10}
        assert found(root, *flags) == listings
    else:
        assert by_class == {split: [list(each) for each in text.split("|")] for split, text in expected.items()}


REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "official archives": (
        lambda root: put(root, "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
        (),
        "ROOT/ILSVRC2012_img_train.tar is an official archive: provenet prepare imagenet OUT --train-tar F",
    ),
    "compressed": (lambda root: put(root, "train/0.tar.gz", "val/0.tgz"), (), "ROOT/train/0.tar.gz is compressed"),
    "zip": (lambda root: put(root, "images.zip"), (), "ROOT/images.zip is an archive without random access: unpack it"),
    "parquet": (lambda root: put(root, "data/train-00000-of-00294.parquet"), (), "provenet prepare imagenet OUT --par"),
    "TFDS": (lambda root: put(root, "i/5.1.0/i-train.tfrecord-00000-of-01024"), (), "is TensorFlow's records (TFDS)"),
    "LMDB": (lambda root: put(root, "train_lmdb/data.mdb", "val_lmdb/data.mdb"), (), "data.mdb is an LMDB"),
    "HDF5": (lambda root: put(root, "imagenet.h5"), (), "ROOT/imagenet.h5 is HDF5"),
    "MDS": (lambda root: put(root, "train/shard.00000.mds.zstd", "val/shard.00000.mds"), (), "is MosaicML's MDS"),
    "beton": (lambda root: put(root, "train.beton"), (), "ROOT/train.beton is FFCV's"),
    "no val": (lambda root: put(root, "train/a/1.jpg"), (), "ROOT has no folder val; expected DATA/train"),
    "no split": (lambda root: put(root, "a/1.jpg"), (), "; --val-share 0.1 keeps a tenth of each class to evaluate on"),
    "flat": (lambda root: put(root, "train/1.jpg", "val/1.jpg"), (), "or --train-labels FILE names their classes"),
    "a test without classes alone": (
        lambda root: put(root, "train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"),
        (),
        "names their classes, or --val-share 0.1 takes images of train in their place; expected",
    ),
    "share and val": (folders, ("val_share:0.1",), "--val-share: ROOT/val says what to evaluate on; leave one"),
    "share and names in capitals": (
        lambda root: folders(root, "Train", "Val"),
        ("val_share:0.1",),
        "--val-share: ROOT/Val says what to evaluate on; leave one",
    ),
    "share and labels": (
        CSV,
        (*FILES, "val_share:0.1"),
        "--val-share: --val-labels says what to evaluate on; leave one of them out",
    ),
    "no such split": (folders, ("val_split:dev",), "--val-split: ROOT/dev is no folder; name the one beside train"),
    "no such file": (folders, ("val_labels:x.csv",), "--val-labels: ROOT/x.csv is no file; name a CSV or text file"),
    "no image named": (
        labelled("8.jpg a\n9.jpg b\n", "4.jpg a\n5.jpg b\n"),
        FILES,
        "ROOT/train.csv: names no image below ROOT/train: '9.jpg, b'; expected a CSV or text file with an image and",
    ),
    "two classes": (labelled("1.jpg,a\n1.jpg,b\n", ""), FILES, "ROOT/train.csv: 1.jpg has the classes 'a' and 'b'"),
    "which column": (
        labelled("f,x,y\n1.jpg,a,c\nmore/2.jpg,a,d\n3.jpg,b,c\n", ""),
        FILES,
        "ROOT/train.csv: which of the columns x, y is the class? leave only it and f",
    ),
    "which numbers": (
        labelled(",id,label\n1,3,b\n2,1,a\n3,2,a\n", ""),
        FILES,
        "ROOT/train.csv: which of the columns , id is the image? leave only it and the class",
    ),
    "nothing repeats": (
        labelled("1.jpg,a,c\nmore/2.jpg,b,d\n", ""),
        FILES,
        "ROOT/train.csv: which of the columns 2, 3 is the class? leave only it and 1",
    ),
    "uneven": (labelled("1.jpg,a\n3.jpg\n", ""), FILES, "ROOT/train.csv: line '3.jpg'; expected a CSV"),
    "empty": (labelled("", ""), FILES, "ROOT/train.csv: the file is empty; expected a CSV"),
    "no class": (labelled("1.jpg,\n3.jpg,b\n", ""), FILES, "ROOT/train.csv: 1.jpg has the classes '' and ''"),
    "cifar": (cifar10, ("val_share:0.1",), "ROOT is CIFAR, with splits and classes of its own; leave them out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    make, flags, reason = REFUSED[name]
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    (problem,) = opened(root, *flags).problems(root / "none", root / "none", 2, 1)[:1]
    assert reason in problem.replace(str(root), "ROOT")
    if not flags and len(list(root.iterdir())) == 1:
        (file,) = (each for each in root.rglob("*") if each.is_file())
        if file.suffix != ".jpg":
            assert reason.split(" is ")[-1] in str(dataset.find(file).misplaced())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("train alone", ("val_share:0.3",)),
        ("train alone", ()),
        ("valid before test", ("val_split:test",)),
        ("csv", ("train_labels:val.csv", "val_labels:val.csv")),
        ("kaggle", ("val_labels:other.csv",)),
    ],
)
def test_a_list_of_another_layout_is_refused(name: str, other: tuple[str, ...], tmp_path: Path) -> None:
    """So a run goes on with the images that it began with, and a list by `verify` serves who asks for its images."""
    make, flags, _ = LAYOUTS[name]
    make(tmp_path)
    (tmp_path / "other.csv").write_text("ILSVRC2012_val_00000004,n02\n")
    for split, listing in found(tmp_path, *flags).items():
        listed = verify.scan(listing, workers=1).manifest
        assert changed(listed) is None
        listed.save(manifest_file(tmp_path, split))
    ours, theirs = opened(tmp_path, *flags), opened(tmp_path, *other)
    assert [ours.manifest(tmp_path, split).contents().images for split in SPLITS] == [
        len(ours.listing(split).entries) for split in SPLITS
    ]
    assert ours.problems(tmp_path / "none", tmp_path, 2, 1) == []
    for run, lists in ((tmp_path, tmp_path / "none"), (tmp_path / "none", tmp_path)):
        (problem,) = theirs.problems(run, lists, 2, 1)
        assert "give the flags and files that it was made with, or let `provenet verify` list the images" in problem


def test_shards_of_both_splits_in_one_folder_are_no_change_of_each_other(tmp_path: Path) -> None:
    hub(tmp_path)
    listed = verify.scan(found(tmp_path)["val"], workers=1).manifest
    shard(tmp_path / "imagenet1k-train-0009.tar", {})
    assert (len(listed), changed(listed)) == (2, None)
    shard(tmp_path / "imagenet1k-validation-0009.tar", {})
    assert changed(listed) == f"{tmp_path}/imagenet1k-validation-0009.tar: not listed"


def test_where_an_image_belongs_follows_from_its_name_alone() -> None:
    entries = [
        Entry(target, f"c{target}/{number}.jpg") for target in range(3) for number in range((1, 2, 2000)[target])
    ]
    whole = Listing(Path("/nowhere"), ("c0", "c1", "c2"), entries)
    held = {entry.name for entry in part(whole, 0.1, "val").entries}
    assert {entry.name for entry in part(whole, 0.1, "train").entries} == {entry.name for entry in entries} - held
    assert [sum(name.startswith(f"c{target}/") for name in held) for target in range(2)] == [0, 1]
    assert 170 < len(held) < 232  # 201 in the mean, and five deviations of 13
    fewer = Listing(Path("/nowhere"), whole.classes, entries[:1000])
    assert {entry.name for entry in part(fewer, 0.1, "val").entries} == held & {entry.name for entry in entries[:1000]}
    assert held < {entry.name for entry in part(whole, 0.2, "val").entries}


def test_a_share_beside_a_split_is_refused_by_a_relative_path_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert "mine/val says what to evaluate on" in str(dataset.find(Path("mine"), Layout(val_share=0.1)).misplaced())


def test_folders_named_unlike_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    folders(tmp_path, "Train", "Val")
    assert "--val-share" not in str(dataset.find(tmp_path).misplaced())


def test_two_folders_of_one_name_are_two_splits(tmp_path: Path) -> None:
    folders(tmp_path, val="one/val")
    rules = {dataset.find(tmp_path, Layout(val_split=name)).rule("val") for name in ("one/val", "two/val", "one//val/")}
    assert rules == {"folder one/val", "folder two/val"}
