"""Whether archives hold all of ImageNet, and if not, what is missing. Standard library only."""

from collections.abc import Collection

from data.output_folder import some
from data.prepare.ilsvrc import CLASSES, TRAIN_IMAGES, VAL_IMAGES, Devkit, val_name


def problems(devkit: Devkit, train: dict[str, int], val: Collection[int], *, partial: bool) -> list[str]:
    """Why these cannot be made a data set, one line each, for the user.

    Args:
        devkit: The classes.
        train: Training images of each class.
        val: Numbers of the validation images.
        partial: Accept a part of ImageNet.
    """
    found = [*_strange(devkit, train, val), *_empty(devkit, train, val)]
    if not partial and (lacking := [*_devkit(devkit), *_train(devkit, train), *_val(val)]):
        found += [*lacking, "to prepare a part of ImageNet all the same, add --partial"]
    return found


def _strange(devkit: Devkit, train: dict[str, int], val: Collection[int]) -> list[str]:
    unknown = sorted(train.keys() - devkit.train_counts.keys())
    beyond = [val_name(number) for number in sorted(val) if not 1 <= number <= len(devkit.truth)]
    return [
        *([f"--train-tar: {some(unknown)}: no class of the devkit"] if unknown else []),
        *([f"--val-tar: {some(beyond)}: the devkit tells the class of 1 to {len(devkit.truth):,}"] if beyond else []),
    ]


def _empty(devkit: Devkit, train: dict[str, int], val: Collection[int]) -> list[str]:
    if not train:
        return ["--train-tar: holds no class"]
    without = [wnid for wnid, count in train.items() if not count]
    seen = {devkit.truth[number - 1] for number in val if 1 <= number <= len(devkit.truth)}
    unseen = sorted(train.keys() - seen)
    return [
        *([f"--train-tar: no image of {some(without)}"] if without else []),
        *([f"--val-tar: no image of {some(unseen)}, which --train-tar holds"] if unseen else []),
    ]


def _devkit(devkit: Devkit) -> list[str]:
    classes, images = len(devkit.train_counts), len(devkit.truth)
    if (classes, images) == (CLASSES, VAL_IMAGES):
        return []
    has = f"classes: {classes:,}, validation images: {images:,}"
    return [f"--devkit: {has}; ImageNet has {CLASSES:,} and {VAL_IMAGES:,}"]


def _train(devkit: Devkit, train: dict[str, int]) -> list[str]:
    """The totals are known for certain; the devkit's own counts only say where to look when they differ."""
    total = sum(train.values())
    if (len(train), total) == (CLASSES, TRAIN_IMAGES):
        return []
    absent = sorted(devkit.train_counts.keys() - train.keys())
    differing = [
        f"{wnid} ({train[wnid]:,} of {count:,})"
        for wnid, count in devkit.train_counts.items()
        if count is not None and train.get(wnid, count) != count
    ]
    has = f"classes: {len(train):,}, images: {total:,}"
    return [
        f"--train-tar: {has}; ImageNet has {CLASSES:,} and {TRAIN_IMAGES:,}",
        *([f"--train-tar: lacks {some(absent)}"] if absent else []),
        *([f"--train-tar: holds other counts than the devkit: {some(differing)}"] if differing else []),
    ]


def _val(val: Collection[int]) -> list[str]:
    absent = [val_name(number) for number in sorted(set(range(1, VAL_IMAGES + 1)) - set(val))]
    return [f"--val-tar: lacks {some(absent)}"] if absent else []
