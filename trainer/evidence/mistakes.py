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


def written(account: Account) -> tuple[str | None, dict[Path, bytes]]:
    """Write the table of all answers after the last epoch.

    Returns:
        The section with the most frequent mistakes, and of few classes the picture that it shows, with its place.
    """
    run, records = account.run, reversed(account.history.of_kind(*EVALUATIONS))
    counts = next(filter(None, (record.get("confusion") for record in records)), None)
    if not counts:
        return None, {}
    known = account.images.splits.get(SPLIT)
    by_number = dict(enumerate(known.classes if known else ()))
    names = [outcome.named(number, by_number) for number in range(account.recipe.model.num_classes)]
    write_csv(run.confusion_table, confusion.table(counts, names))
    rows = [(names[number], names[answer], f"{times:,}") for number, answer, times in confusion.mistakes(counts)]
    words = page.plain(f"After the last epoch, the most frequent first; {run.confusion_table.name} has more.")
    blocks = [page.table(("class", "taken for", "images"), rows[:SHOWN]), words]
    if len(names) > confusion.MOST:
        return page.section("Confusion", *blocks), {}
    picture = f"![confusion matrix]({run.confusion.name})"
    return page.section("Confusion", picture, *blocks), {run.confusion: confusion.png(counts, names)}
