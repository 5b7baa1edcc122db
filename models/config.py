"""Settings of a network. Standard library only, so that `--help` loads no torch."""

import ast
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which network, for which data, with which options; None leaves an option at that network's own default."""

    name: str = "resnet50"
    """A name of `provenet models list`, or `timm/<name>` or `torchvision/<name>` for those packages' own network."""

    num_classes: int = field(default=1000, metadata={"min": 1, "max": 1_000_000})
    """Classes, the length of a row of logits; must agree with the data set."""

    in_channels: int = field(default=3, metadata={"min": 1, "max": 1024})
    """Channels of an image: 3 for RGB."""

    drop_path: float | None = field(default=None, metadata={"min": 0, "below": 1})
    """Stochastic depth: probability that training skips the last residual branch (1603.09382)."""

    dropout: float | None = field(default=None, metadata={"min": 0, "below": 1})
    """Probability that training drops a feature before the classifier."""

    zero_init_residual: bool | None = None
    """Start training with each residual block as the identity: gamma of its last norm at 0 (1706.02677 section 5.1)."""

    shortcut: Literal["A", "B", "C"] | None = None
    """Where shapes differ: A pads zeros, B projects; C projects in every block (1512.03385 section 3.3 and Table 3)."""

    blur_pool: Literal["after", "before"] | None = None
    """A filter where a map is halved: after the convolution (1904.11486, timm), or before it (ffcv, Composer)."""

    deep_stem: bool | None = None
    """Three 3x3 convolutions instead of the 7x7 (ResNet-C, 1812.01187 section 4.2); with avg_down it is ResNet-D."""

    avg_down: bool | None = None
    """Average pool before a shortcut's projection instead of a stride in it (ResNet-D, 1812.01187 section 4.2)."""

    ghost: int | None = field(default=None, metadata={"min": 2, "max": 64})
    """Ratio s of the network's own Ghost modules, or of those that replace its 1x1 convolutions (1911.11907)."""

    aux_logits: bool | None = None
    """Whether Inception-v3 trains with its auxiliary head (1512.00567 section 4)."""

    img_size: int | None = field(default=None, metadata={"min": 8, "max": 2048})
    """Side of the images that a network of timm is built for, where its position embeddings fix it, pixels."""

    options: tuple[str, ...] | None = None
    """Further arguments of a network of timm as NAME=VALUE: init_values=1e-5 (layer scale), global_pool=avg."""


_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}


def arguments(settings: Sequence[str]) -> dict[str, Any]:
    """The Python values of settings NAME=VALUE; a value that is no number, constant, tuple or the like stays text.

    Raises:
        ValueError: One has another form, or a name is there twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not (name.isidentifier() and equals and text):
            raise ValueError(f"{setting!r}; expected NAME=VALUE")
        if name in values:
            raise ValueError(f"{name} is there twice")
        try:
            values[name] = _CONSTANTS[text.lower()] if text.lower() in _CONSTANTS else ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            values[name] = text
    return values


def check_arguments(given: Iterable[str], made_by: Callable[..., object], ours: Collection[str]) -> None:
    """Refuse an argument that a class or function does not name, as some take any and ignore it.

    Args:
        given: Names of arguments.
        made_by: What they are for.
        ours: Names that have a setting of their own.

    Raises:
        ValueError: There is one; the message has what was meant, or all that could be.
    """
    known = inspect.signature(made_by).parameters.keys() - {"args", "kwargs", *ours}
    for name in sorted(set(given) - known):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(known))}"
        raise ValueError(f"no argument {name}; {hint}")
