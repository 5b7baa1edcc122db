import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.trainer.evidence.runs import EVALUATION, RESULT, START, recipe, train_records, write
from trainer.evidence import page, report
from trainer.evidence.page import Markup, code, command, facts, plain, section, strong, table
from trainer.evidence.targets import TARGETS
from trainer.rundir import RunDirectory

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('x')</script>&\"quoted\""
LOOKALIKE = '<img src="a.png" alt="">'


class Reader(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def reported(folder: Path) -> RunDirectory:
    start = {**START, "host": HOSTILE, "packages": {"torch": HOSTILE}}
    run = write(folder, recipe(), [start, *train_records(6), EVALUATION], {**RESULT, "protocol": HOSTILE})
    report.write(run)
    return run


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (plain("a | b"), r"a \| b"),
        (plain("<script>"), r"\<script>"),
        (plain("two\nlines"), "two lines"),
        (plain("[0.08, 1.0] * `x`"), r"\[0.08, 1.0] \* \`x\`"),
        (plain("dali_gpu of __init__ & co &lt; &#60;"), r"dali_gpu of \_\_init\_\_ & co \&lt; \&#60;"),
        (plain(Markup("**x**")), "**x**"),
        (strong("76.13 %"), "**76.13 %**"),
        (code("a|b`c"), r"`a\|b'c`"),
        (command("python\n-m trainer"), "    python -m trainer"),
        (facts("run", [("seed", "3"), ("energy", None)]), "|  | run |\n| --- | ---: |\n| seed | 3 |"),
        (section("a*", plain("b"), "c"), "## a\\*\n\nb\n\nc"),
    ],
)
def test_a_report_is_made_of_markdown(markup: str, expected: str) -> None:
    assert markup == expected


@pytest.mark.parametrize(
    "words", ["_a_ __b__ c_d", "&amp; &#x41; & &", "\\*a*\\", "[a](b) ![c](d) <http://e>", HOSTILE]
)
def test_nothing_in_words_is_taken_for_markup(words: str) -> None:
    body = (
        MarkdownIt("commonmark", {"html": False}).enable("table").render(table((words,), [(words,), (strong(words),)]))
    )
    found = Reader(body)
    assert found.words.count(words) == 3
    assert set(found.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "strong"}


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = [("a", "1,234.5", "1"), ("b", "76.05 +- 0.10", "x"), ("c", "-", "2")]
    assert table(("name", "n", "mixed"), rows).splitlines()[1] == "| --- | ---: | --- |"
    body = page.html("", table(("n", "m"), [("1", "x")]), "open", {})
    assert re.search(r'<td style="text-align:right">1</td>\s*<td>x</td>', body)


def test_a_report_refers_to_nothing_outside_itself_and_runs_nothing(tmp_path: Path) -> None:
    text = reported(tmp_path).page.read_text()
    found = Reader(text)
    assert found.open == []
    assert [link[:22] for link in found.links] == ["data:image/png;base64,"]
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_a_report_shows_the_values(tmp_path: Path) -> None:
    text = Reader(reported(tmp_path).page.read_text()).text
    for value in (
        "Reproduced.",
        "76.20 %",
        "top-5 92.90 %",
        "55.50",
        "8 x NVIDIA H100",
        "imagenet-1k",
        TARGETS["resnet50"][0].source,
    ):
        assert value in text.replace("  ", " ")


def test_every_cell_of_the_markdown_is_in_the_page(tmp_path: Path) -> None:
    run = reported(tmp_path)
    shown = Reader(run.page.read_text()).text
    rows = [line.strip("| ").split(" | ") for line in run.report.read_text().splitlines() if line.startswith("|")]
    cells = [re.sub(r"\\(.)", r"\1", cell.strip("*`")) for row in rows for cell in row if not cell.startswith("---")]
    assert len(cells) > 100
    assert [cell for cell in cells if cell not in shown] == []


def test_what_comes_from_outside_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    """The name of a run, of a host, of a class: whoever made the files chose them."""
    text = reported(tmp_path / "<img src=x onerror=alert(1)>").page.read_text()
    found = Reader(text)
    assert "<script>" not in text
    assert "<img src=x" not in text
    assert found.text.count(HOSTILE) == 3
    assert "resnet50 in <img src=x onerror=alert(1)>" in found.text


@pytest.mark.parametrize("tone", ["good", "bad", "open"])
def test_the_verdict_is_shown_in_its_colour(tone: page.Tone) -> None:
    assert f'<body class="{tone}">\n<h1>x</h1>' in page.html("x", "# x", tone, {})


def test_pictures_are_in_the_page_and_words_that_look_like_one_are_not() -> None:
    text = f"![curves](a.png)\n\n{plain(LOOKALIKE)}"
    assert Reader(page.html("", text, "good", {"a.png": b"png"})).links == ["data:image/png;base64,cG5n"]


@pytest.mark.browser
def test_a_report_can_be_read_on_a_phone(tmp_path: Path) -> None:
    """Only wide tables and pictures scroll; values are beside their names, and labels in pictures are legible."""
    from tests.system.screenshot import browser

    with browser() as page:
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(reported(tmp_path).page.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        tables = "[...document.querySelectorAll('table:has(th:first-child:empty)')]"
        widths = page.evaluate(f"{tables}.map(table => table.scrollWidth - table.clientWidth)")
        assert len(widths) > 3
        assert set(widths) == {0}
        others = "[...document.querySelectorAll('td:last-child:not([style])')]"
        assert min(page.evaluate(f"{others}.map(cell => cell.offsetWidth)")) > 130
        assert page.locator("img").first.evaluate("image => image.clientWidth") > 600
