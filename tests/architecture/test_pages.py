"""What the pages say of the project is so: links, messages, make's targets and settings, commands."""

import ast
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from launch.cli import VERBS
from tests.fixtures.reading import versions
from trainer.commands.cli import parse
from trainer.recipe import recipes
from trainer.recipe.checks import batch_warnings
from trainer.recipe.decode import InvalidConfigError

ROOT = Path(__file__).parents[2]
ROOMS = ("launch", "trainer", "models", "data")
MAKEFILE = (ROOT / "Makefile").read_text()
README = (ROOT / "README.md").read_text()
STARTING = (ROOT / "launch" / "README.md").read_text()


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


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 120
    assert all(len(line) <= 160 for line in prose(ROOT / "README.md").splitlines() if not line.startswith("|"))


def test_the_readme_has_four_ways_in_of_ten_lines_at_most() -> None:
    ways = [re.split(r"^## (.*)$", README, flags=re.MULTILINE)[1:][i : i + 2] for i in range(0, 8, 2)]
    names = ["Try it", "Train on ImageNet", "Fine-tune on my images and predict", "Run on my cluster"]
    assert [name for name, _ in ways] == names
    for name, text in ways:
        assert 2 <= len(re.findall(r"^    \S.*$", text, re.MULTILINE)) <= 10, name


def test_the_version_is_the_same_in_package_changelog_and_citation() -> None:
    package = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    released = re.findall(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = re.findall(r"^  version = \{(.*)\},$", README, re.MULTILINE)
    assert package == released[:1] == cited
    assert sorted(released) == versions()  # of each a run is kept, which later versions read


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
    table = STARTING.split("| message | means | do |")[1].split("\n\n")[0]
    return [one for cell in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for one in cell[1:-1].split("`, `")]


def test_there_are_messages() -> None:
    assert len(messages()) >= 15


@pytest.mark.parametrize("message", messages())
def test_a_message_is_printed_as_the_page_has_it(message: str) -> None:
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


def commands(page: Path) -> list[str]:
    """The indented or prompted lines of a page that run `provenet`, without what starts it and what follows a pipe."""
    found = []
    for line in re.findall(r"^(?: {4,}|\$ )(.*)$", re.sub(r"\\\n\s*", "", page.read_text()), re.MULTILINE):
        ours = re.search(rf"(?:^|\s)(?:provenet|\"\$\(command -v provenet\)\"|-m trainer) ({VERB}\b.*)", line)
        if ours and not re.search(
            r"\.\.\.|--import | grey", line
        ):  # which code of the page adds: its own tests run these
            found.append(re.split(r" [|&;>] ?", ours[1])[0])
    return found


VERB = f"(?:{'|'.join({name.split()[0] for name in VERBS})})"
COMMANDS = [(page, line) for page in PAGES for line in commands(page)]


def test_there_are_commands_on_the_pages() -> None:
    assert len(COMMANDS) > 60
    for page in ("README.md", *(f"{room}/README.md" for room in (*ROOMS, "slurm"))):
        assert ROOT / page in {page for page, _ in COMMANDS}, page


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=str)
def test_a_command_on_a_page_is_read_as_printed(
    page: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, text in re.findall(r"^```\w+ (\w+\.\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        Path(file).write_text(text)  # which the page asks the reader to write
    words = shlex.split(line, comments=True)
    try:
        parse(words, VERBS)
    except InvalidConfigError as error:
        assert words[0] == "resume" and "was never submitted" in str(error)


def test_the_warning_of_another_batch_is_printed_as_the_page_has_it() -> None:
    text = (ROOT / "trainer" / "README.md").read_text()
    line, warning = re.findall(r"^\$ provenet (.*--global-batch.*)\n(.*)$", text, re.MULTILINE)[0]
    train = parse(shlex.split(line))
    assert batch_warnings(train.settings, recipes.load(train.recipe)) == [warning]
