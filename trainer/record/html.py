"""A report as one HTML file, which refers to nothing outside itself and runs nothing."""

import base64
import re
from html import escape

from trainer.record.content import Block, Code, Command, Figure, Page, Section, Span, Strong, Table, Text

_NUMBER = re.compile(r"-|-?[0-9][0-9,.]*( \+- [0-9.]+)?")
_LONG = 24  # rows, from which on a table scrolls in a frame of its own

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #59636e; --line: #d1d9e0; --shade: #f6f8fa;
  --good: #1a7f37; --bad: #b3261e; --open: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --paper: #14171a; --faint: #9aa4ae; --line: #353b42;
  --shade: #1d2126; --good: #4cc26a; --bad: #ff8a80; --open: #9aa4ae; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 0.95rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 0.75rem; padding-bottom: 0.25rem; border-bottom: 1px solid var(--line); }
p { margin: 0.6rem 0; overflow-wrap: anywhere; }
.tone { padding: 0.7rem 1rem; background: var(--shade); border-left: 4px solid var(--open); }
.tone strong { color: var(--open); }
.good { border-color: var(--good); } .good strong { color: var(--good); }
.bad { border-color: var(--bad); } .bad strong { color: var(--bad); }
.frame { overflow: auto; margin: 0.75rem 0; }
.long { max-height: 32rem; border: 1px solid var(--line); }
.long thead th { position: sticky; top: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.75rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { background: var(--shade); font-weight: 600; white-space: nowrap; }
td { max-width: 46rem; overflow-wrap: break-word; }
td:first-child { white-space: nowrap; } td:last-child { overflow-wrap: anywhere; }
td.name { color: var(--faint); }
th.number, td.number { text-align: right; white-space: nowrap; }
code { font: 0.88em ui-monospace, monospace; } td code { white-space: nowrap; }
pre { padding: 0.6rem 1rem; background: var(--shade); overflow-x: auto; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figure { margin: 1rem 0; }
"""


def page(content: Page) -> str:
    """The whole file."""
    title = escape(content.title)
    body = "\n".join(map(_section, content.sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
        "'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(content: Section) -> str:
    heading = f"<h2>{escape(content.title)}</h2>\n" if content.title else ""
    return f"<section>\n{heading}" + "\n".join(map(_block, content.blocks)) + "\n</section>"


def _block(content: Block) -> str:
    match content:
        case Text(spans, tone):
            kind = f' class="tone {tone}"' if tone else ""
            return f"<p{kind}>{''.join(map(_span, spans))}</p>"
        case Command(line):
            return f"<pre><code>{escape(line)}</code></pre>"
        case Table():
            return _table(content)
        case Figure(_, words, png):
            data = base64.b64encode(png).decode()
            return f'<figure><img alt="{escape(words)}" src="data:image/png;base64,{data}"></figure>'


def _table(content: Table) -> str:
    kinds = [_kind(name, [row[column] for row in content.rows]) for column, name in enumerate(content.head)]
    names = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(content.head, kinds, strict=True))
    head = f"<thead><tr>{names}</tr></thead>\n" if content.head[0] else ""  # a table of facts needs none
    rows = "\n".join(f"<tr>{_cells(row, kinds)}</tr>" for row in content.rows)
    frame = "frame long" if len(content.rows) > _LONG else "frame"
    return f'<div class="{frame}"><table>\n{head}<tbody>\n{rows}\n</tbody>\n</table></div>'


def _cells(row: tuple[Span, ...], kinds: list[str]) -> str:
    return "".join(f"<td{kind}>{_span(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))


def _kind(name: str, cells: list[Span]) -> str:
    """Class of a column: names of facts stand back, numbers stand to the right."""
    if not name:
        return ' class="name"'
    numbers = cells and all(isinstance(cell, str) and _NUMBER.fullmatch(cell) for cell in cells)
    return ' class="number"' if numbers else ""


def _span(content: Span) -> str:
    match content:
        case Strong(text):
            return f"<strong>{escape(text)}</strong>"
        case Code(text):
            return f"<code>{escape(text)}</code>"
        case str():
            return escape(content)
