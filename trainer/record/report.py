"""report.md, report.html and curves.png, made from what the run directory holds. Loads no torch."""

from collections.abc import Mapping

from trainer.record import html, markdown, plots, sections
from trainer.record.account import Account, read
from trainer.record.content import Figure, Page, Section
from trainer.record.targets import TARGETS, Target
from trainer.record.verdict import Verdict, judge
from trainer.rundir import RunDirectory, write_text

Targets = Mapping[str, tuple[Target, ...]]


def write(run: RunDirectory) -> None:
    """Write the report and its plot, of a run that is finished or not.

    Raises:
        InvalidConfigError: A file in the run directory is damaged.
    """
    account = read(run)
    write_files(account, judge([account]))


def write_files(account: Account, verdict: Verdict, targets: Targets = TARGETS) -> None:
    """The same of a run that has been read and judged."""
    curves = plots.png(account.records)
    content = page(account, verdict, curves, targets)
    account.run.curves.write_bytes(curves)
    write_text(account.run.report, markdown.page(content))
    write_text(account.run.page, html.page(content))


def page(account: Account, verdict: Verdict, curves: bytes, targets: Targets = TARGETS) -> Page:
    """Everything that a report of one run says."""
    figures = targets.get(account.named.name, ()) if account.named else ()
    found = [
        sections.verdict(verdict),
        sections.result(account),
        sections.published(account, figures),
        Section("Curves", [Figure(account.run.curves.name, plots.WORDS, curves)]),
        sections.evaluations(account),
        sections.time_and_energy(account),
        sections.provenance(account),
        sections.images(account),
        sections.starts(account),
        *sections.departures(account),
    ]
    title = f"{account.recipe.model.name} in {account.run.path.absolute().name}"
    return Page(title, [section for section in found if section])
