import pytest

from trainer.record import markdown
from trainer.record.content import Code, Command, Figure, Page, Section, Span, Strong, Table, facts, text


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("a | b", r"a \| b"),
        ("<script>", r"\<script>"),
        ("two\nlines", "two lines"),
        ("[0.08, 1.0] * `x`", r"\[0.08, 1.0] \* \`x\`"),
        (Strong("76.13 %"), "**76.13 %**"),
        (Code("a|b`c"), r"`a\|b'c`"),
    ],
)
def test_nothing_in_words_is_taken_for_markup(span: Span, expected: str) -> None:
    assert markdown.span(span) == expected


def test_a_page_is_its_sections_in_order() -> None:
    blocks = [
        text(Strong("Reproduced."), " By ", Code("x"), "."),
        Command("python -m trainer"),
        Figure("a.png", "it", b""),
    ]
    table = Table(("a", "b"), [("1", Code("2"))])
    page = Page("Run", [Section("", blocks), Section("More", [table])])
    assert markdown.page(page) == (
        "# Run\n\n**Reproduced.** By `x`.\n\n    python -m trainer\n\n![it](a.png)\n\n"
        "## More\n\n| a | b |\n| --- | --- |\n| 1 | `2` |\n"
    )


def test_facts_that_are_unknown_have_no_row() -> None:
    assert markdown.table(facts("run", [("seed", "3"), ("energy", None)])).splitlines()[2:] == ["| seed | 3 |"]
