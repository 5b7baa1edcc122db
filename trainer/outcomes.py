"""What the functions of `trainer/api.py` return and raise. Loads no torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from trainer.exits import BAD_INPUT
from trainer.recipe.decode import InvalidConfigError
from trainer.world import WorldError


class ProvenetError(Exception):
    """What a command would have ended with, in its words, which may name flags; of bad input one problem a line."""

    code: int
    """The command's exit code: 2 nothing was begun, 1 a person must act first, 70 and 75 the same call goes on."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def raising() -> Iterator[None]:
    """Raise the failures that a command would print as `ProvenetError`."""
    try:
        yield
    except (InvalidConfigError, WorldError) as error:
        raise ProvenetError(str(error), BAD_INPUT) from None
    except Exception as error:
        from trainer.failures import failure

        if (expected := failure(error)) is None:
            raise
        raise ProvenetError(expected.text, expected.code) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """How well a network does on a split, each image counted once."""

    top1: float
    """Percent."""
    top5: float
    """Percent; of all classes where there are fewer than five."""
    loss: float
    """Mean cross-entropy, nats."""
    images: int
    facts: Mapping[str, Any]
    """Its protocol and circumstances: the fields of `result.json` or `evaluation.json` in `trainer/FORMATS.md`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A class that an image may show."""

    name: str
    index: int
    """Of its logit."""
    probability: float
    """0 to 1."""


class Prediction(NamedTuple):
    """The answers to an image."""

    image: str
    """Its path; in an archive `ARCHIVE: NAME`."""
    classes: tuple[Answer, ...]
    """The most probable first."""
