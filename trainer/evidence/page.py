"""A report as Markdown, and the same as one HTML file that refers to nothing outside itself and runs nothing."""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

from markdown_it import MarkdownIt

from data.names import shown

Tone = Literal["good", "bad", "open"]

# what begins markup within a line; underscores within a word, as in file names, do not
_SPECIAL = re.compile(r"[\\`*|<\[]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_NUMBER = re.compile(r"-|-?[0-9][0-9,.]*( \+- [0-9.]+)?")
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #59636e; --line: #d1d9e0; --shade: #f6f8fa;
  --good: #1a7f37; --bad: #b3261e; --open: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --paper: #14171a; --faint: #9aa4ae; --line: #353b42;
  --shade: #1d2126; --good: #4cc26a; --bad: #ff8a80; --open: #9aa4ae; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 0.95rem/1.5 system-ui, sans-serif; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .open { --tone: var(--open); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 0.75rem; padding-bottom: 0.25rem; border-bottom: 1px solid var(--line); }
p { margin: 0.6rem 0; overflow-wrap: anywhere; }
h1 + p { padding: 0.7rem 1rem; background: var(--shade); border-left: 4px solid var(--tone); }
h1 + p strong { color: var(--tone); }
table { display: block; width: max-content; max-width: 100%; max-height: 32rem; overflow: auto; margin: 0.75rem 0;
  border-collapse: collapse; font-variant-numeric: tabular-nums; }
thead th { position: sticky; top: 0; }
th, td { padding: 0.3rem 0.75rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { background: var(--shade); font-weight: 600; white-space: nowrap; }
td { max-width: 46rem; overflow-wrap: break-word; }
td:first-child, td[style] { white-space: nowrap; } td:last-child { overflow-wrap: anywhere; }
td:last-child:not([style]) { min-width: 9rem; }
thead:has(th:first-child:empty) { display: none; }
thead:has(th:first-child:empty) + tbody td:first-child { color: var(--faint); }
code { font: 0.88em ui-monospace, monospace; } td code { white-space: nowrap; }
pre { padding: 0.6rem 1rem; background: var(--shade); overflow-x: auto; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (max-width: 40rem) { body { padding: 1rem 0.75rem 3rem; } th, td { padding: 0.3rem 0.4rem; }
  p:has(img) { overflow-x: auto; } img:not([alt^=confusion]) { max-width: none; width: 44rem; }
  td:first-child, td:last-child code { white-space: normal; } }
"""


class Markup(str):
    """Text that is Markdown already; `table` escapes all other text."""

    __slots__ = ()


def plain(text: str) -> Markup:
    """Escape a text, and put it on one line."""
    return text if isinstance(text, Markup) else Markup(_SPECIAL.sub(r"\\\g<0>", _line(text)))


def strong(text: str) -> Markup:
    """Bold text."""
    return Markup(f"**{plain(text)}**")


def code(text: str) -> Markup:
    """Text in a fixed-width font."""
    return Markup(f"`{_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`")


def command(line: str) -> str:
    """A shell command as a block."""
    return f"    {_line(line)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, one line a row, each as wide as `head`; columns of numbers are aligned to the right."""
    numbers = [all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(head))]
    rule = [Markup("---:" if right else "---") for right in numbers]
    return "\n".join("| " + " | ".join(map(plain, cells)) + " |" for cells in (head, rule, *rows))


def facts(title: str, rows: Sequence[tuple[str, str | None]]) -> str:
    """A table of names and values, without those that are unknown."""
    return table(("", title), [(name, value) for name, value in rows if value is not None])


def section(title: str, *blocks: str) -> str:
    """Blocks of Markdown below a heading."""
    return "\n\n".join((f"## {plain(title)}", *blocks))


def html(title: str, markdown: str, tone: Tone, pictures: Mapping[str, bytes]) -> str:
    """The whole HTML file.

    Args:
        title: Of the window.
        markdown: The report; its first paragraph is the verdict.
        tone: Of the verdict.
        pictures: PNG files by the names that the report gives them.
    """
    body = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table").render(markdown)
    for name, png in pictures.items():
        data = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        body = body.replace(f'<img src="{name}"', f'<img src="{data}"')
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
        "'unsafe-inline'\">\n"
        f"<title>{escape(shown(title))}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f'<body class="{tone}">\n{body}</body>\n</html>\n'
    )


def _line(text: str) -> str:
    return shown(" ".join(str(text).split()))  # a damaged file may hold a number in place of a text
