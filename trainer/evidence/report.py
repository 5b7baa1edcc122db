"""report.md, report.html and curves.png, made from what the run directory holds. Loads no torch."""

from collections.abc import Mapping

from trainer.evidence import page, plots, sections
from trainer.evidence.run_record import Account, read
from trainer.evidence.targets import TARGETS, Target
from trainer.evidence.verdict import Verdict, judge
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
    curves, title = plots.png(account.records), f"{account.recipe.model.name} in {account.run.path.absolute().name}"
    text = "\n\n".join([f"# {page.plain(title)}", *_sections(account, verdict, targets)]) + "\n"
    account.run.curves.write_bytes(curves)
    write_text(account.run.report, text)
    write_text(account.run.page, page.html(title, text, verdict.tone, {account.run.curves.name: curves}))


def _sections(account: Account, verdict: Verdict, targets: Targets) -> list[str]:
    """Everything that a report of one run says."""
    figures = targets.get(account.named.name, ()) if account.named else ()
    found = [
        sections.verdict(verdict),
        sections.result(account),
        sections.published(account, figures),
        page.section("Curves", f"![{page.plain(plots.WORDS)}]({account.run.curves.name})"),
        sections.evaluations(account),
        sections.time_and_energy(account),
        sections.provenance(account),
        sections.images(account),
        sections.starts(account),
        *sections.departures(account),
    ]
    return [section for section in found if section]
