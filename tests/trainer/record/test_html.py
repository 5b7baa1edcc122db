from html.parser import HTMLParser
from pathlib import Path

from tests.trainer.record.runs import EVALUATION, RESULT, START, recipe, train_records, write
from trainer.record import html, report
from trainer.record.content import Code, Command, Figure, Page, Section, Strong, Table, facts, text
from trainer.record.targets import TARGETS

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('x')</script>&\"quoted\""


class Reader(HTMLParser):
    """What a browser would find."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
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


def whole_page(folder: Path) -> str:
    start = {**START, "host": HOSTILE, "packages": {"torch": HOSTILE}}
    run = write(folder, recipe(), [start, *train_records(6), EVALUATION], {**RESULT, "protocol": HOSTILE})
    report.write(run)
    return run.page.read_text()


def test_a_report_refers_to_nothing_outside_itself_and_runs_nothing(tmp_path: Path) -> None:
    page = whole_page(tmp_path)
    found = Reader(page)
    assert found.open == []
    assert [link[:22] for link in found.links] == ["data:image/png;base64,"]
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_a_report_shows_the_values(tmp_path: Path) -> None:
    text = Reader(whole_page(tmp_path)).text
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


def test_what_comes_from_outside_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    """The name of a run, of a host, of a class: whoever made the files chose them."""
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    page = whole_page(folder)
    found = Reader(page)
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert found.text.count(HOSTILE) == 3
    assert "resnet50 in <img src=x onerror=alert(1)>" in found.text


def test_every_kind_of_block_is_escaped() -> None:
    blocks = [
        text(HOSTILE, Strong(HOSTILE), Code(HOSTILE), tone="good"),
        Command(HOSTILE),
        Table((HOSTILE, "b"), [(HOSTILE, Code(HOSTILE))]),
        facts(HOSTILE, [(HOSTILE, HOSTILE)]),
        Figure("a.png", HOSTILE, b"png"),
    ]
    page = html.page(Page(HOSTILE, [Section(HOSTILE, blocks)]))
    found = Reader(page)
    assert "<script" not in page
    assert found.open == []
    assert found.links == ["data:image/png;base64,cG5n"]
    assert found.text.count(HOSTILE) == 12


def test_numbers_stand_to_the_right_and_long_tables_scroll() -> None:
    short = Table(("name", "n", "mixed"), [("a", "1,234.5", "1"), ("b", "76.05 +- 0.10", "x")])
    page = html.page(Page("", [Section("", [short])]))
    assert '<td class="number">1,234.5</td><td>1</td>' in page
    assert 'class="frame long"' not in page
    long = Table(("n",), [("1",)] * 50)
    assert 'class="frame long"' in html.page(Page("", [Section("", [long])]))
