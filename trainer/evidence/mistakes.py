"""The part of a report that says which classes the network takes for which. Loads no torch."""

from pathlib import Path

from trainer import confusion
from trainer.evaluation import outcome
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.predictions import write_csv
from trainer.evidence import page
from trainer.evidence.history import EVALUATIONS
from trainer.evidence.run_record import Account

SHOWN = 20


def section(account: Account) -> str | None:
    """The most frequent mistakes after the last epoch, and of few classes the picture of all answers."""
    if not (counts := _counts(account)):
        return None
    names, run = _names(account), account.run
    rows = [(names[number], names[answer], f"{times:,}") for number, answer, times in confusion.mistakes(counts)]
    picture = [f"![confusion matrix]({run.confusion.name})"] if len(names) <= confusion.MOST else []
    words = page.plain(f"After the last epoch, the most frequent first; {run.confusion_table.name} has more.")
    return page.section("Confusion", *picture, page.table(("class", "taken for", "images"), rows[:SHOWN]), words)


def pictures(account: Account) -> dict[Path, bytes]:
    """Write the table of all counts, and return the picture of few classes with its place."""
    if not (counts := _counts(account)):
        return {}
    names = _names(account)
    write_csv(account.run.confusion_table, confusion.table(counts, names))
    return {account.run.confusion: confusion.png(counts, names)} if len(names) <= confusion.MOST else {}


def _counts(account: Account) -> confusion.Confusion | None:
    """Those that the last epoch's evaluation has recorded."""
    records = reversed(account.history.of_kind(*EVALUATIONS))
    return next(filter(None, (record.get("confusion") for record in records)), None)


def _names(account: Account) -> list[str]:
    known = account.images.splits.get(SPLIT)
    names = dict(enumerate(known.classes if known else ()))
    return [outcome.named(number, names) for number in range(account.recipe.model.num_classes)]
