"""Why images cannot be trained on: one check of trees, shards and CIFAR, for every command. Standard library only."""

from data.catalog import foreign
from data.catalog.listing import Contents
from data.catalog.tree import EXPECTED, is_image
from data.names import shown


def problems(train: Contents, val: Contents) -> list[str]:
    """Why no recipe can be trained on these images, one line each, for the user."""
    if lacking := [text for split in (train, val) if (text := nothing(split))]:
        return lacking
    unusable = [*_lacking(val, train), *_lacking(train, val)]
    unusable += [f"{split.root} has no image in {_some(split.empty)}" for split in (train, val) if split.empty]
    if not unusable and len(train.classes) == 1:
        return [f"{train.root} holds a single class, {shown(train.classes[0])}; a classifier needs two"]
    return list(dict.fromkeys(unusable))  # both splits of CIFAR lie in one folder


def nothing(split: Contents, expected: str = EXPECTED) -> str | None:
    """What a split has nothing of, with what was expected, for the user; None where it has images."""
    if split.images:
        return None
    if split.classes:
        return foreign.explained(f"{split.root} holds no image; {expected}", split.root)
    # ImageNet's own validation archive unpacks to 50,000 files in one folder
    flat = any(is_image(entry.name) for entry in split.root.iterdir())
    flag = "--train-labels FILE names" if split.root.name == "train" else "--val-labels FILE names"
    other = ", or --val-share 0.1 takes images of train in their place" * (flag[2] == "v" and expected is EXPECTED)
    remedy = f"its images must be sorted into class folders, or {flag} their classes{other}; " if flat else ""
    return foreign.explained(f"{split.root} holds no class folder; {remedy}{expected}", split.root)


def misfits(train: Contents, val: Contents, num_classes: int, global_batch: int) -> list[str]:
    """Why a recipe of such a network and batch cannot be trained on these images, one line each, for the user."""
    root, classes, images = train.root, len(train.classes), train.images
    other = f"model.num_classes: {num_classes}, but {root} holds {classes} classes; use --model.num-classes {classes}"
    few = f"global_batch: {global_batch}, but {root} holds only {images} images; use --global-batch {images}"
    empty = [] if val.images else [f"--data: {nothing(val)}"]
    return [*([other] if classes != num_classes else []), *([few] if images < global_batch else []), *empty]


def all_problems(train: Contents, val: Contents, num_classes: int, global_batch: int) -> list[str]:
    """Those of `problems`, with the flag that names the images, or else of `misfits`."""
    unusable = [f"--data: {problem}" for problem in problems(train, val)]
    return unusable or misfits(train, val, num_classes, global_batch)


def _lacking(split: Contents, other: Contents) -> list[str]:
    names = sorted(set(split.classes) - set(other.classes))
    return [f"{split.root} holds {_some(names)}, which {other.root} lacks"] if names else []


def _some(names: list[str]) -> str:
    first = ", ".join(map(shown, names[:3]))
    return f"class {first}" if len(names) <= 3 else f"{len(names)} classes ({first}, ...)"
