from dataclasses import replace

import pytest

from data.catalog import known
from data.catalog.formats import JPEG, RAW
from data.catalog.manifest import Manifest
from data.types import BrokenImage
from tests.data.known_sets import cifar10, imagenet, images


def without(images: Manifest, count: int) -> Manifest:
    """The first images are broken."""
    columns = {name: getattr(images, name)[count:] for name in ("targets", "sizes", "formats")}
    return replace(images, **columns, broken=(BrokenImage("some.JPEG", "truncated"),) * count)


def test_the_official_images_are_recognised() -> None:
    assert known.recognise(*imagenet()) == "imagenet-1k"
    assert known.why(*imagenet()) == "synsets, counts and bytes of the official archives"
    assert known.recognise(*cifar10()) == "cifar10"


def test_imagenet_with_a_few_broken_images_is_imagenet() -> None:
    train, val = imagenet()
    assert known.recognise(without(train, 1_281), without(val, 50)) == "imagenet-1k"


def one_class_more(val: Manifest) -> Manifest:
    targets = val.targets.copy()
    targets[0] = 1
    return replace(val, targets=targets)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda train, val: (train, replace(val, classes=val.classes[::-1])), "train and val have other classes"),
        (lambda train, val: (replace(train, sizes=train.sizes // 4), val), "re-encoded: train has 36.72 GB instead of"),
        (lambda train, val: (train, replace(val, sizes=val.sizes * 2)), "re-encoded: val has 13.42 GB instead of 6.71"),
        (lambda train, val: (without(train, 1_282), val), "1,282 images of train are broken"),
        (lambda train, val: (train, without(val, 51)), "51 images of val are broken"),
        (lambda train, val: (train, replace(val, targets=val.targets[1:])), "val has 49,999 images instead of 50,000"),
        (lambda train, val: (replace(train, targets=train.targets[5:]), val), "train has 1,281,162 images instead of"),
        (lambda train, val: (train, one_class_more(val)), "val has not 50 images of each class"),
    ],
)
def test_what_is_like_imagenet_is_refused_and_the_reason_said(change, reason: str) -> None:
    train, val = change(*imagenet())
    assert known.recognise(train, val) is None
    assert reason in known.why(train, val)


def test_a_thousand_other_synsets_are_not_imagenet() -> None:
    others = imagenet(tuple(f"n{number:08d}" for number in range(1000)))
    assert known.recognise(*others) is None
    assert known.why(*others) == "its 1,000 classes are synsets, but not the 1,000 of ImageNet-1k"


def test_a_jpeg_copy_of_cifar_is_not_cifar() -> None:
    assert known.recognise(*cifar10(JPEG)) is None
    assert "re-encoded: train is not the raw pixels" in known.why(*cifar10(JPEG))


def test_a_part_of_cifar_is_not_cifar() -> None:
    train, val = cifar10()
    part = images(train.classes, 5_000, 3072, RAW)
    assert known.recognise(part, val) is None
    assert known.why(part, val) == "the classes of cifar10, but train has not 5,000 images of each class"


def test_any_other_images_are_of_no_published_data_set() -> None:
    pair = images(("a", "b"), 10, 3), images(("a", "b"), 4, 3)
    assert known.recognise(*pair) is None
    assert known.why(*pair) == "its 2 classes are those of no published data set"
