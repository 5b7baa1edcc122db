"""ImageNet's classes in the order of a network's logits. No torch here."""

import importlib.util
import json
from pathlib import Path

REAL = "real"  # what a user calls `real_labels`
IMAGENET = "imagenet"  # what a user calls `wnids`


def wnids() -> tuple[str, ...]:
    """The 1,000 synsets of ILSVRC2012 (n01440764, ...), sorted: the class of logit k is the k-th.

    Reference:
        timm/data/_info/imagenet_synsets.txt of the installed timm.
    """
    return tuple(_info("imagenet_synsets.txt").read_text(encoding="utf-8").split())


def names() -> dict[str, str]:
    """What the synsets are called, for people: the first of each one's words."""
    lines = _info("imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    return {wnid: words.partition(",")[0] for wnid, _, words in (line.partition("\t") for line in lines)}


def real_labels() -> list[list[int]]:
    """All classes that each of the 50,000 validation images shows, in the images' order; some show none of them.

    Reference:
        2006.07159; timm/data/_info/imagenet_real_labels.json of the installed timm.
    """
    return json.loads(_info("imagenet_real_labels.json").read_text(encoding="utf-8"))


def _info(name: str) -> Path:
    spec = importlib.util.find_spec("timm")
    assert spec and spec.origin  # this package depends on it
    return Path(spec.origin).parent / "data" / "_info" / name
