"""A report as Markdown."""

import re

from trainer.record.content import Block, Code, Command, Figure, Page, Section, Span, Strong, Table, Text

_SPECIAL = re.compile(r"([\\`*|<\[])")


def page(content: Page) -> str:
    """The whole file."""
    return "\n\n".join([f"# {span(content.title)}", *map(section, content.sections)]) + "\n"


def section(content: Section) -> str:
    """A section with its heading."""
    heading = [f"## {span(content.title)}"] if content.title else []
    return "\n\n".join([*heading, *map(_block, content.blocks)])


def table(content: Table) -> str:
    """A table, one line a row."""

    def line(cells: tuple[Span, ...]) -> str:
        return "| " + " | ".join(map(span, cells)) + " |"

    return "\n".join([line(content.head), line(("---",) * len(content.head)), *map(line, content.rows)])


def span(content: Span) -> str:
    """Words that mean what they say: nothing in them is taken for markup."""
    match content:
        case Strong(text):
            return f"**{span(text)}**"
        case Code(text):
            return f"`{_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
        case str():
            return _SPECIAL.sub(r"\\\1", _line(content))


def _line(text: str) -> str:
    return " ".join(text.split())


def _block(content: Block) -> str:
    match content:
        case Text(spans):
            return "".join(map(_inner, spans))
        case Command(line):
            return f"    {_line(line)}"
        case Table():
            return table(content)
        case Figure(file, words):
            return f"![{span(words)}]({file})"


def _inner(content: Span) -> str:
    """In a paragraph, where blanks at the ends part the words."""
    if not isinstance(content, str):
        return span(content)
    before, after = (" " * bool(content[place:][:1].isspace()) for place in (0, -1))
    return f"{before}{span(content)}{after}" if content.strip() else " "
