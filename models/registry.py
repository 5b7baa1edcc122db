"""What networks there are, and what is wrong with a config; loads no torch."""

import difflib
import fnmatch
import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from models.config import ModelConfig, arguments
from models.table import TABLE, Entry

_COMMON = ("name", "num_classes", "in_channels")
# What the builders of the two packages take (models/reference.py), whatever else the network is.
_PACKAGE_OPTIONS = {
    "timm": ("drop_path", "dropout", "img_size", "options"),
    "torchvision": ("dropout", "aux_logits"),
}
# Arguments of timm's networks that have a field of their own.
TIMM_ARGUMENTS = {
    **{"num_classes": "num_classes", "in_channels": "in_chans"},
    **{"dropout": "drop_rate", "drop_path": "drop_path_rate", "img_size": "img_size"},
}
# timm: `@register_model` above `def name(`; torchvision puts a second decorator between the two.
_REGISTERED = re.compile(r"^@register_model(?:\(\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def names() -> list[str]:
    """Names of our own networks and a user's, in the table's order."""
    return list(TABLE)


def is_ours(name: str) -> bool:
    """Whether the sizes that it takes are known, as of no package's network and no user's."""
    return name in TABLE and not is_users(name)


def is_users(name: str) -> bool:
    """Whether a network is of a user's own code."""
    return name in TABLE and TABLE[name].build is not None


def model_names(package: str) -> list[str]:
    """Names of the networks of `package` ("timm" or "torchvision"), sorted; empty where it has no sources.

    They are read from its installed sources, as an import would load torch.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    sources = sorted(Path(spec.origin).parent.joinpath("models").glob("*.py"))
    return sorted(name for path in sources for name in _REGISTERED.findall(path.read_text(encoding="utf-8")))


def matching(pattern: str) -> list[str]:
    """Names of our own networks that contain the pattern, or match it where it has * or ?.

    Raises:
        ValueError: There are none; the message suggests the nearest.
    """
    lower = pattern.casefold()
    names = [name for name in TABLE if lower in name or fnmatch.fnmatchcase(name, lower)]
    if not names and "/" in pattern:
        raise ValueError(f"{pattern!r} is none of ours, which have no / in their names; the packages list their own")
    if not names:
        raise ValueError(_unknown(pattern))
    return names


def counterpart(name: str) -> str:
    """What one of our networks is compared with: a package's network, or one made from a package's parts."""
    row = entry(name)
    return row.reference or (f"from parts: {row.twin}" if row.twin else "-")


def entry(name: str) -> Entry:
    """What is known of one of our networks.

    Raises:
        ValueError: It is none of ours; the message suggests the nearest.
    """
    if name in TABLE:
        return TABLE[name]
    package, _, rest = name.rpartition("/")
    foreign = f"model.name: {name!r} is a network of {package}; this takes one of ours"
    raise ValueError(foreign if _in_package(package, rest) else f"model.name: {_unknown(name)}")


def problems(
    config: ModelConfig,
    image_size: int,
    size_path: str = "input.train_size",
    *,
    training: bool = True,
) -> list[str]:
    """Everything wrong with a config whose values are in range, each line starting with a dotted path.

    Args:
        config: What would be built.
        image_size: Side of the images it would see, pixels.
        size_path: The setting that `image_size` came from.
        training: Whether it would be trained at that size, which an auxiliary head narrows.
    """
    return [
        *option_problems(config),
        *_size_problems(config, image_size, size_path, training=training),
    ]


def options(config: ModelConfig) -> dict[str, Any]:
    """The options that the config sets, those left at None apart."""
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in _COMMON}
    return {name: value for name, value in values.items() if value is not None}


def option_problems(config: ModelConfig) -> list[str]:
    """What is wrong with the name and the options, whatever the images' size."""
    package, _, name = config.name.rpartition("/")
    if config.name not in TABLE and not _in_package(package, name):
        return [f"model.name: {_unknown(config.name)}"]
    known = _PACKAGE_OPTIONS[package] if package else TABLE[config.name].options
    strangers = [option for option in options(config) if option not in known]
    takes = ", ".join(known) or "none"
    unknown = [f"model.{option}: {config.name} has no such option; it takes {takes}" for option in strangers]
    return unknown or _conflicts(config)


def _in_package(package: str, name: str) -> bool:
    if package not in _PACKAGE_OPTIONS:
        return False
    known = model_names(package)
    # timm's resnet50.a1_in1k is resnet50 with certain weights
    untagged = name.partition(".")[0] if package == "timm" else name
    return not known or untagged in known  # without sources to read, `reference.build` asks the package


def _unknown(name: str) -> str:
    external = [f"{package}/{other}" for package in _PACKAGE_OPTIONS for other in model_names(package)]
    near = [other for other in external if other.endswith(f"/{name}")]
    near += _nearest(name.casefold(), external if "/" in name else names())
    others = f" (or {', '.join(near[1:])})" if near[1:] else ""
    listed = "`provenet models list` shows the names, and --import FILE brings your own"
    hint = f"did you mean {near[0]}{others}?" if near else listed
    return f"{name!r} is unknown; {hint}"


def _nearest(name: str, known: list[str]) -> list[str]:
    """At most three that are alike; of those equally alike, the longest common part first, then the table's order."""
    matchers = {other: difflib.SequenceMatcher(None, name, other) for other in known}
    close = [other for other in known if matchers[other].ratio() >= 0.6]  # difflib's own threshold
    likeness = {other: (matchers[other].ratio(), matchers[other].find_longest_match().size) for other in close}
    return sorted(close, key=likeness.__getitem__, reverse=True)[:3]


def _conflicts(config: ModelConfig) -> list[str]:
    if config.name.startswith("torchvision/") and config.in_channels != 3:
        return [f"model.in_channels: {config.in_channels}, but the networks of torchvision take 3"]
    if config.avg_down and config.shortcut == "A":
        return ["model.avg_down: pools before a projection, which shortcut A has not; set model.shortcut to B or C"]
    try:
        given = arguments(config.options or ())
    except ValueError as error:
        return [f"model.options: {error}"]
    return [f"model.options: {name} is model.{own} here" for own, name in TIMM_ARGUMENTS.items() if name in given]


def _size_problems(config: ModelConfig, image_size: int, size_path: str, *, training: bool) -> list[str]:
    row = TABLE.get(config.name)
    if row is None:
        return []  # a package's network: its least size is not known without building it
    chosen = options(config)
    sizes = {option: size for option, size in row.min_sizes.items() if training and chosen.get(option) is not False}
    for option, size in sizes.items():
        if row.min_size <= image_size < size:
            return [
                f"{size_path}: {image_size} is too small to train {config.name} with {option}, which needs at least "
                f"{size}; with model.{option} false it needs {row.min_size}"
            ]
    if image_size >= row.min_size:
        return []
    return [f"{size_path}: {image_size} is too small for {config.name}, which needs at least {row.min_size}"]
