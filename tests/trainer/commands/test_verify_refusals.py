"""Data sets on which nothing can be trained: each command refuses them in the same words, and writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from models import export, factory
from models.config import ModelConfig
from tests import commands
from tests.data import archives
from tests.data.cifar_files import TRAIN10, batch, cifar10, cifar100, python3
from trainer.commands.cli import main

Classes = dict[str, int]
EXPECTED = "; expected DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG"
SORTING = "its images must be sorted into class folders, or --val-labels FILE names their classes"
SORTING += ", or --val-share 0.1 takes images of train in their place"
SHARE = "; --val-share 0.1 keeps a tenth of each class to evaluate on"
TINY = (
    *("--model.name", "resnet20", "--input.train-size", "8", "--input.eval-resize", "8", "--input.eval-crop", "8"),
    *("--epochs", "1", "--threads", "1", "--loader", "threads", "--precision", "fp32"),
)
FITS = ("--global-batch", "2", "--micro-batch", "2", "--optimizer.lr", "0.01", "--model.num-classes", "2")


def folders(root: Path, split: str, classes: Classes) -> None:
    """A split as class folders with so many images."""
    (root / split).mkdir(parents=True)
    for place, (name, count) in enumerate(classes.items()):
        (root / split / name).mkdir()
        for number in range(count):
            (root / split / name / f"{number}.JPEG").write_bytes(archives.jpeg(place * 40 + number))


def shard(root: Path, split: str, classes: Classes) -> None:
    """A split as one tar shard, with the names of its classes."""
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    files: dict[str, bytes] = {}
    for target, count in enumerate(classes.values()):
        for number in range(count):
            files |= {
                f"{target}{number}.jpg": archives.jpeg(target * 40 + number),
                f"{target}{number}.cls": b"%d" % target,
            }
    (root / split / "0.tar").write_bytes(archives.tar(files))


def numbered(root: Path, split: str, classes: Classes) -> None:
    """A split as one tar shard, whose classes are the numbers in it."""
    shard(root, split, classes)
    (root / "classes.txt").unlink()


Write = Callable[[Path, str, Classes], None]


def made(train: Write, train_classes: Classes, val: Write, val_classes: Classes) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        train(root, "train", train_classes)
        val(root, "val", val_classes)

    return make


def tree(train: Classes, val: Classes) -> Callable[[Path], None]:
    return made(folders, train, folders, val)


def shards(train: Classes, val: Classes, write: Write = shard) -> Callable[[Path], None]:
    return made(write, train, write, val)


def cifar(labels: list[int]) -> Callable[[Path], None]:
    """CIFAR-10 whose images have these labels in turn."""

    def make(root: Path) -> None:
        cifar10(root)
        for seed, name in enumerate([*TRAIN10, "test_batch"]):
            content = batch(seed, len(labels), "labels", 10) | {"labels": labels}
            (root / "cifar-10-batches-py" / name).write_bytes(python3(content))

    return make


def both_cifars(root: Path) -> None:
    cifar10(root)
    cifar100(root)


def then(make: Callable[[Path], None], change: Callable[[Path], object]) -> Callable[[Path], None]:
    def both(root: Path) -> None:
        make(root)
        change(root)

    return both


@dataclass(frozen=True)
class Odd:
    """A data set, and why it is refused."""

    make: Callable[[Path], None]
    reasons: tuple[str, ...]
    val_is_odd: bool = True
    """Whether it is the validation images that are odd, so that they cannot be evaluated."""


CIFAR = "cifar-10-batches-py"
AB, ABC = {"a": 4, "b": 4}, {"a": 4, "b": 4, "c": 4}
ODD = {
    "nothing": Odd(lambda _: None, (f"ROOT does not exist{EXPECTED}",)),
    "file": Odd(Path.touch, (f"ROOT is not a folder{EXPECTED}",)),
    "no val": Odd(
        lambda root: folders(root, "train", AB), (f"ROOT has no folder val{EXPECTED}{SHARE}",), val_is_odd=False
    ),
    "no val, shards": Odd(
        lambda root: shard(root, "train", AB), (f"ROOT has no folder val{EXPECTED}{SHARE}",), val_is_odd=False
    ),
    "no class folder": Odd(tree({}, AB), (f"ROOT/train holds no class folder{EXPECTED}",), val_is_odd=False),
    "flat val": Odd(
        then(tree(AB, {}), lambda root: (root / "val/1.JPEG").touch()),
        (f"ROOT/val holds no class folder; {SORTING}{EXPECTED}",),
    ),
    "no image": Odd(tree(AB, {"a": 0, "b": 0}), (f"ROOT/val holds no image{EXPECTED}",)),
    "class in val alone": Odd(tree(AB, ABC), ("ROOT/val holds class c, which ROOT/train lacks",), val_is_odd=False),
    "class in val alone, shards": Odd(
        shards(AB, ABC, numbered), ("ROOT/val holds class 2, which ROOT/train lacks",), val_is_odd=False
    ),
    "other classes in shards": Odd(
        made(folders, {"a": 4, "d": 4}, shard, AB),
        ("ROOT/val holds class b, which ROOT/train lacks", "ROOT/train holds class d, which ROOT/val lacks"),
        val_is_odd=False,
    ),
    "empty class": Odd(
        tree(AB | {"c": 0}, AB | {"c": 0}),
        ("ROOT/train has no image in class c", "ROOT/val has no image in class c"),
        val_is_odd=False,
    ),
    "empty class, shards": Odd(shards(AB | {"c": 0}, ABC), ("ROOT/train has no image in class c",), val_is_odd=False),
    "empty class, CIFAR": Odd(
        cifar([0, 1, 2, 3, 4, 5, 6, 7, 8, 8]),
        ("ROOT/cifar-10-batches-py has no image in class truck",),
        val_is_odd=False,
    ),
    "single class": Odd(
        tree({"a": 4}, {"a": 4}), ("ROOT/train holds a single class, a; a classifier needs two",), val_is_odd=False
    ),
    "single class, shards": Odd(
        shards({"a": 4}, {"a": 4}, numbered),
        ("ROOT/train holds a single class, 0; a classifier needs two",),
        val_is_odd=False,
    ),
    "two CIFARs": Odd(
        both_cifars,
        ("ROOT holds CIFAR-10 and CIFAR-100; name the folder of one, such as ROOT/cifar-10-batches-py",),
    ),
    "shard cut short": Odd(
        then(shards(AB, AB), lambda root: (root / "val/0.tar").write_bytes((root / "val/0.tar").read_bytes()[:700])),
        ("ROOT/val/0.tar: 00.jpg: the archive ends before this file does; copy or download it again",),
    ),
    "folder called a shard": Odd(
        then(shards(AB, AB), lambda root: (root / "val/1.tar").mkdir()), ("ROOT/val/1.tar: Is a directory",)
    ),
    "batch of CIFAR missing": Odd(
        then(cifar([*range(10)]), lambda root: (root / "cifar-10-batches-py/test_batch").unlink()),
        ("ROOT/cifar-10-batches-py/test_batch is missing; unpack the official archive again",),
    ),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "net.safetensors"
    config = ModelConfig(name="resnet20", num_classes=2)
    export.export(factory.build(config), config, file, "safetensors", 32)
    return file


def refused(folder: Path, *words: object) -> list[str]:
    """The reasons of a command that refuses, and writes nothing."""
    before = sorted(folder.rglob("*"))
    done = commands.call(main, *words)
    first, *lines = done.stderr.splitlines() or [""]
    assert (done.returncode, done.stdout, first) == (2, "", "cannot start; nothing was written"), done
    assert sorted(folder.rglob("*")) == before
    return [line.strip().replace(f"{folder}/data", "ROOT") for line in lines]


def train(folder: Path, *flags: str) -> tuple[object, ...]:
    return ("train", "demo", "--data", folder / "data", "--output", folder / "run", *TINY, *flags)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_cannot_be_trained_on_is_refused_by_all_in_the_same_words(odd: Odd, tmp_path: Path, weights: Path) -> None:
    odd.make(tmp_path / "data")
    assert refused(tmp_path, "verify", tmp_path / "data", "--workers", "1") == [f"ROOT: {one}" for one in odd.reasons]
    assert refused(tmp_path, *train(tmp_path, *FITS)) == [f"--data: {one}" for one in odd.reasons]
    if odd.val_is_odd:
        places = ("--data", tmp_path / "data", "--output", tmp_path / "figures")
        (reason,) = refused(tmp_path, "evaluate", weights, *places)
        assert reason.partition(";")[0] == f"--data: {odd.reasons[-1].partition(';')[0]}"


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("make", "split", "classes", "images"),
    [(tree(ABC, ABC), "train", 3, 12), (shards(ABC, ABC), "train", 3, 12), (cifar([*range(10)]), CIFAR, 10, 50)],
    ids=("tree", "shards", "CIFAR"),
)
def test_a_recipe_of_other_images_is_refused_before_it_is_written(
    listed: bool, make: Callable[[Path], None], split: str, classes: int, images: int, tmp_path: Path
) -> None:
    make(tmp_path / "data")
    if listed:
        assert commands.call(main, "verify", tmp_path / "data", "--workers", "1").returncode == 0
    large = ("--global-batch", "64", "--micro-batch", "64", "--model.num-classes", "2")
    assert refused(tmp_path, *train(tmp_path, *large)) == [
        f"model.num_classes: 2, but ROOT/{split} holds {classes} classes; use --model.num-classes {classes}",
        f"global_batch: 64, but ROOT/{split} holds only {images} images; use --global-batch {images}",
    ]


def test_lists_of_other_images_are_refused_before_the_recipe_is_written(tmp_path: Path) -> None:
    tree(AB, AB)(tmp_path / "data")
    assert commands.call(main, "verify", tmp_path / "data", "--workers", "1").returncode == 0
    (tmp_path / "data/val/a/0.JPEG").unlink()
    assert refused(tmp_path, *train(tmp_path, *FITS)) == [
        "--data: ROOT/val/a/0.JPEG: listed, but no longer there",
        "provenet verify ROOT lists what is there now",
    ]


def test_every_command_takes_the_choice_of_images_in_the_same_way(tmp_path: Path, weights: Path) -> None:
    folders(tmp_path / "data", "train", AB)
    share = ("--val-share", "0.5")
    (reason,) = refused(tmp_path, *train(tmp_path, *FITS))
    assert reason == f"--data: ROOT has no folder val{EXPECTED}{SHARE}"
    assert refused(tmp_path, "verify", tmp_path / "data", "--val-share", "0.6") == [
        "--val-share: 0.6; must be above 0 and at most 0.5"
    ]
    listed = commands.call(main, "verify", tmp_path / "data", "--workers", "1", *share)
    assert (listed.returncode, listed.stderr.count("by --val-share 0.5")) == (0, 2)
    other = "ROOT/manifest-train.npz is of --val-share 0.5, but asked for is"
    remedy = "give the flags and files that it was made with, or let `provenet verify` list the images again"
    assert refused(tmp_path, *train(tmp_path, *FITS)) == [f"--data: {other} folder train; {remedy}"]
    assert refused(tmp_path, *train(tmp_path, *FITS, "--val-share", "0.25")) == [
        f"--data: {other} --val-share 0.25; {remedy}"
    ]
    assert refused(tmp_path, *train(tmp_path, *share, *FITS[:4], "--model.num-classes", "3")) == [
        "model.num_classes: 3, but ROOT/train holds 2 classes; use --model.num-classes 2"
    ]
    words = ("evaluate", weights, "--data", tmp_path / "data", "--val-split", "dev", "--output", tmp_path / "figures")
    assert (
        refused(tmp_path, *words)[-1]
        == "--data: --val-split: ROOT/dev is no folder; name the one beside train to evaluate on"
    )
    assert refused(tmp_path, "pack", tmp_path / "data", tmp_path / "out") == [
        f"SOURCE: ROOT has no folder val{EXPECTED}{SHARE}"
    ]
