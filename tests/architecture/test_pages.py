"""What the pages say of the project is so: links, messages, make's targets and settings, commands."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from launch.cli import VERBS
from trainer.commands import cli

ROOT = Path(__file__).parents[2]
ROOMS = ("launch", "trainer", "models", "data")
MAKEFILE = (ROOT / "Makefile").read_text()
README = (ROOT / "README.md").read_text()


def kept(*patterns: str) -> list[Path]:
    """Files that git keeps, or would."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


PAGES = kept("*.md")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]
    lost = []
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tables_have_as_many_columns_as_their_heads(page: Path) -> None:
    """GitHub shows others as text."""
    rules = re.findall(r"^(\|.*\|)\n(\|(?: *:?-+:? *\|)+)$", page.read_text(), re.MULTILINE)
    assert [head for head, rule in rules if len(re.findall(r"(?<!\\)\|", head)) != rule.count("|")] == []


def test_the_readme_can_be_read_in_ten_minutes() -> None:
    assert len(README.splitlines()) <= 300


def test_the_top_level_is_what_it_is_said_to_be() -> None:
    tops = {path.relative_to(ROOT).parts[0] for path in kept() if not path.relative_to(ROOT).parts[0].startswith(".")}
    rooms = {*ROOMS, "tests", "slurm"}
    assert tops == rooms | {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml"}


@cache
def said() -> str:
    """Every text in the rooms, with a … for what a program puts in."""
    texts = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(re.sub(r"%[sdr]", "…", node.value))
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    texts.append("".join(map(str, parts)))
    return "\n\n".join(texts)


def messages() -> list[str]:
    """The first column of the table of messages, in which a row may have several."""
    table = README.split("| message | means | do |")[1].split("\n\n")[0]
    return [one for cell in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for one in cell[1:-1].split("`, `")]


def test_there_are_messages() -> None:
    assert len(messages()) >= 15


@pytest.mark.parametrize("message", messages())
def test_a_message_is_printed_as_the_readme_has_it(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    assert re.search(r".{0,80}?".join(parts), said()), "no text in the source reads like this"


@pytest.mark.parametrize("target", re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())  # type: ignore[index]
def test_make_help_documents_every_target(target: str) -> None:
    assert target in re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)


def test_make_help_shows_targets_and_settings() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    settings = re.findall(r"^([A-Z]+) \?=", MAKEFILE, re.MULTILINE)
    assert len(settings) >= 8
    assert [word for word in ("make train", "make test", *settings) if word not in done.stdout] == []


def test_each_command_of_the_pages_is_one() -> None:
    for page in PAGES:
        for line in re.findall(r"provenet ((?:models )?[a-z][a-z \\|]*)", page.read_text()):
            group = "models " if line.startswith("models ") else ""
            first, *others = line.removeprefix(group).split(r" \|")
            names = [word.split()[0] for word in (first, *others) if word.split()]
            assert {group + name for name in names} <= set(VERBS), f"{page}: {line}"


def test_the_commands_of_the_readme_that_fine_tune_are_read_as_printed() -> None:
    typed = [line.split()[1:] for line in README.splitlines() if line.startswith("    provenet train finetune ")]
    assert [cli.parse(words).settings.model.name for words in typed] == ["timm/convnext_tiny", "resnet50"]
    (words,) = (line.split()[1:] for line in README.splitlines() if line.startswith("    provenet predict "))
    assert cli.parse(words).images == ("~/photos",)
