"""What a report is made of, whatever it is shown as: sections of text, tables, commands and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that matter more than those around them."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Words as a program writes or reads them."""

    text: str


Span = str | Strong | Code


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    spans: tuple[Span, ...]
    tone: Tone | None = None
    """Of a verdict."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line for a shell."""

    line: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, each as wide as `head`."""

    head: tuple[str, ...]
    rows: Sequence[tuple[Span, ...]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture."""

    file: str
    """Its name beside the report."""
    words: str
    """What it shows, for those who do not see it."""
    png: bytes


Block = Text | Command | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading."""

    title: str
    """Empty: no heading."""
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Page:
    """A report."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)


def text(*spans: Span, tone: Tone | None = None) -> Text:
    """A paragraph of these."""
    return Text(spans, tone)


def facts(title: str, rows: Sequence[tuple[str, Span | None]]) -> Table:
    """A table of names and values, without those that are unknown."""
    return Table(("", title), [(name, value) for name, value in rows if value is not None])
