"""Several runs on one page: what differs between them, how far each is, and their curves. Loads no torch."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from urllib.parse import quote

from data import durable
from trainer.evaluation.request import own_protocol
from trainer.evidence import page, plots, runs_table
from trainer.evidence.cost import cost, figure
from trainer.evidence.page import code, plain, section, strong, table
from trainer.evidence.run_record import Account
from trainer.evidence.targets import TARGETS, Target
from trainer.evidence.verdict import judge
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode
from trainer.rundir import write_text

FEWEST, MOST = 2, 20  # runs

_TITLE = "Comparison of"
_HEAD = (
    *("run", "recipe", "state", "top-1, %", "best top-1, %", "protocol"),
    *("images seen", "images/s", "devices", "hours", "published figure"),
)
_CURVES = "top-1, loss and training loss by images seen of {} runs: a line for each, a colour for each recipe"
_WORDS = "Comparable", "Comparable as far as is known", "Not comparable"


def check(accounts: Sequence[Account], output: Path) -> None:
    """Look whether these runs can be compared in this file.

    Raises:
        InvalidConfigError: They cannot.
    """
    problems = [f"RUN: {one.run.path} has logged nothing yet" for one in accounts if not one.history.records]
    if not FEWEST <= len(accounts) <= MOST:
        problems.append(f"--output: compares {FEWEST} to {MOST} runs, each counted once; here are {len(accounts)}")
    if output.suffix != ".md" or not os.access(output.parent, os.W_OK | os.X_OK):
        problems.append(f"--output: {output}; name a file that ends in .md, in a folder that can be written")
    there = [file for file in map(output.with_suffix, (".md", ".html", ".png")) if os.path.lexists(file)]
    if there and not (output.is_file() and output.read_text("utf-8", "replace").startswith(f"# {_TITLE}")):
        problems.append(f"--output: {there[0]} exists and is no comparison of runs; name another file")
    if problems:
        raise InvalidConfigError(problems)


def write(accounts: Sequence[Account], output: Path, targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> None:
    """Write the page as Markdown and as HTML, and its picture beside it."""
    folder = os.path.commonpath([account.run.path.absolute().parent for account in accounts])
    names = {account.run.path: os.path.relpath(account.run.path.absolute(), folder) for account in accounts}
    found = list(zip(ascii_uppercase, runs_table.groups(accounts, targets), strict=False))
    groups = [replace(group, label=f"{letter} ({group.name})") for letter, group in found]
    runs = [(letter, names[one.run.path], one) for letter, group in found for one in group.accounts]
    png = plots.png(plots.compared([(letter, name, one.history) for letter, name, one in runs]))
    rank, why = _comparable({name: one for _, name, one in runs})
    title, picture = f"{_TITLE} {len(runs)} runs", output.with_suffix(".png")
    rows = [(name, letter, *_row(one), judge([one], targets).word) for letter, name, one in runs]
    blocks = (
        *(f"# {title}", f"{strong(f'{_WORDS[rank]}.')} {plain(why)}"),
        section("Runs", table(_HEAD, rows)),
        section("Curves", f"![{_CURVES.format(len(runs))}]({quote(picture.name)})"),
        section("Differences between the recipes", _settings({letter: one.recipe for letter, _, one in runs})),
        section("Means over seeds, and published figures", runs_table.as_markdown(groups, targets)),
    )
    text = "\n\n".join(blocks)
    durable.replace(picture, png)
    write_text(output, text)
    html = page.html(title, text, "bad" if rank == 2 else "open", {quote(picture.name): png})
    write_text(output.with_suffix(".html"), html)


def _comparable(accounts: Mapping[str, Account]) -> tuple[int, str]:
    """Which of `_WORDS` holds, and in what the runs differ."""
    facts: tuple[tuple[str, int, Callable[[Account], str]], ...] = (
        ("protocols", 2, lambda account: own_protocol(account.recipe).name),
        ("evaluation images (SHA-256)", 2, lambda account: (account.sha256("val") or "")[:8]),
        ("training images (SHA-256)", 0, lambda account: (account.sha256("train") or "")[:8]),
    )
    rank, lines = 0, list[str]()
    for what, most, of in facts:
        by_value: dict[str, list[str]] = defaultdict(list)
        for name, account in accounts.items():
            by_value[of(account)].append(name)
        if len(by_value) > 1 or "" in by_value:
            shown = (f"{value or 'not known yet'} in {', '.join(names)}" for value, names in by_value.items())
            lines.append(f"Different {what}: {'; '.join(shown)}.")
            rank = max(rank, min(most, max(1, len(by_value.keys() - {""}))))
    if unfinished := [name for name, account in accounts.items() if not account.result]:
        lines.append(f"Not finished, so without a result: {', '.join(unfinished)}.")
    return rank, " ".join(lines) or "All share protocol and images, and are finished."


def _row(account: Account) -> tuple[str, ...]:
    past, spent, accuracy = account.history, cost(account.history), account.accuracy
    best = account.result["best_top1"] if account.result else max((r["top1"] for r in past.evaluated), default=None)
    start = next(reversed(past.of_kind("start")), {})
    return (
        *(account.stage, f"{accuracy.top1:.2f}" if accuracy else "-", "-" if best is None else f"{best:.2f}"),
        *(code(_protocol(account)), f"{int(max(past.known('images_seen'), default=0)):,}", figure(spent.images_per_s)),
        *(f"{start.get('world_size', '-')} x {start.get('device', '-')}", figure(spent.hours)),
    )


def _protocol(account: Account) -> str:
    return f"{own_protocol(account.recipe).name}{', averaged weights' if account.recipe.ema.decay else ''}"


def _settings(recipes: Mapping[str, Recipe]) -> str:
    """A table of the fields in which they differ, a column for each."""
    first, *others = (encode(replace(recipe, seed=0)) for recipe in recipes.values())
    changes = [{path: pair for path, *pair in differences(first, other)} for other in others]
    firsts = {path: ours for change in changes for path, (ours, _) in change.items()}
    rows = [
        (code(path), *map(runs_table.text, (ours, *(change.get(path, (ours, ours))[1] for change in changes))))
        for path, ours in firsts.items()
    ]
    return table(("field", *recipes), rows) if rows else plain("None but the seed.")
