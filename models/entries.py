"""The weights of one network among all that a checkpoint holds: at whatever depth, behind whatever prefix."""

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

_HOLDERS = Mapping, list, tuple
_AVERAGED = re.compile(r"(?i)(?:^|[._])ema(?:[._]|$)")


class Chosen(NamedTuple):
    """A network's weights, and what else could have been chosen, for the user; empty where the file is only these."""

    state: Mapping[str, Tensor]
    is_averaged: bool
    note: str


def chosen(content: Any, shapes: Mapping[str, torch.Size], entry: str | None = None) -> Chosen:
    """The tensors that have most names and shapes in common with a network's; of equal ones an average, or the first.

    Args:
        content: What a file holds.
        shapes: Of the network's tensors, by each name that they may have.
        entry: raw or ema, where a file has both; or the name of an entry, as it is in the file.

    Raises:
        ValueError: It holds no tensors, or has no such entry.
    """
    every = [one for path, tensors in _mappings(content) for one in _entries(path, tensors, shapes)]
    most = max((one.named for one in every), default=0)
    known = [one for one in every if 2 * one.named > most] or every  # not a block whose layers are named as the stem's
    meant = [one for one in known if one.is_meant(entry)]
    if not known:
        raise ValueError("holds no state dict: no tensors by name")
    if not meant:
        names = dict.fromkeys(repr(one.name) for one in known if one.name)
        raise ValueError(f"has no entry {entry!r}; it holds {', '.join(names) or 'one network alone'}")
    best = max(meant, key=lambda one: (one.fits, one.named or len(one.tensors), one.is_averaged))
    others = [repr(one.name) for one in known if one is not best and one.fits == best.fits and one.fits]
    instead = f", not {', '.join(others)} (the setting entry chooses)" if others else ""
    note = f"took {best.name!r} of the file{instead}" if best.name else ""
    return Chosen(_stripped(best, every, shapes), best.is_averaged, note)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Tensors of a mapping, below a dotted `path`, whose names begin with a prefix such as `module.`.

    `named` of them have a name of the network's behind it, and `fits` its shape too.
    """

    path: str
    tensors: Mapping[str, Tensor]
    prefix: str
    fits: int
    named: int

    @property
    def name(self) -> str:
        return f"{self.path}.{self.prefix}".strip(".")

    @property
    def is_averaged(self) -> bool:
        return bool(_AVERAGED.search(self.name))

    def is_meant(self, entry: str | None) -> bool:
        if entry in ("raw", "ema"):
            return self.is_averaged == (entry == "ema")
        return entry is None or f"{self.name}.".startswith(f"{entry}.")


def _mappings(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping of names to tensors in nested dicts and lists, with the keys that lead to it."""
    waiting, seen = deque([("", content)] if isinstance(content, _HOLDERS) else []), set[int]()
    while waiting:
        path, item = waiting.popleft()
        if id(item) in seen:  # a pickle may hold itself
            continue
        seen.add(id(item))
        pairs = list(item.items() if isinstance(item, Mapping) else enumerate(item))
        tensors = {str(key): value.detach() for key, value in pairs if isinstance(key, str) and _is_weight(value)}
        if tensors:
            yield path, tensors
        waiting += [(f"{path}.{key}", value) for key, value in pairs if isinstance(value, _HOLDERS)]


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _entries(path: str, tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> Iterator[Entry]:
    counts: dict[str, list[int]] = {"": [0, 0]}
    for key, value in tensors.items():
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", key))):
            if (name := key[start:]) in shapes:
                count = counts.setdefault(key[:start], [0, 0])
                count[0] += value.shape == shapes[name]
                count[1] += 1
    for prefix, (fits, named) in counts.items():
        yield Entry(path=path, tensors=tensors, prefix=prefix, fits=fits, named=named)


def _stripped(best: Entry, every: list[Entry], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The tensors behind the prefix, and what else of the network lies beside it, as a classifier behind another.

    None is of another whole network there, such as the average or a teacher.
    """
    within = [one for one in every if one.tensors is best.tensors]
    others = tuple(_apart(one.prefix, best.prefix) for one in within if one is not best and 2 * one.named > best.named)
    beside = {key: value for key, value in best.tensors.items() if not key.startswith((best.prefix, *others))}
    depth = best.prefix.count(".")  # deeper ones are blocks of another network
    near = sorted((one for one in reversed(within) if one.prefix.count(".") <= depth), key=lambda one: one.fits)
    rest = {name: value for one in near for name, value in _behind(one.prefix, beside).items() if name in shapes}
    inner = tuple(other.removeprefix(best.prefix) for other in others if other.startswith(best.prefix))
    own = _behind(best.prefix, best.tensors)
    return {**rest, **{name: own[name] for name in own if name in shapes or not name.startswith(inner)}}


def _apart(prefix: str, other: str) -> str:
    """The outermost part of a prefix that another does not have."""
    parts = prefix.split(".")
    shared = os.path.commonprefix([parts, other.split(".")])  # noqa: RUF071 - of lists: part by part
    return ".".join(parts[: len(shared) + 1]).rstrip(".") + "." if prefix else ""


def _behind(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
