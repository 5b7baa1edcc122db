"""`provenet report`: its flags, its refusals, what it prints. Loads no torch, and little to refuse."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from trainer.exits import FAILED, refuse
from trainer.rundir import RunDirectory
from trainer.terminal import progress, show

if TYPE_CHECKING:
    from trainer.evidence.run_record import Account


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Write report.md, report.html and curves.png of runs anew, and hold them against the published figures.

    Of several runs, prints a table: a row for the runs that differ in their seed alone, with mean and deviation,
    verdict, hours and energy, and beside it what others have published.

    Example: provenet report runs/r50-seed0 runs/r50-seed1 runs/r50-seed2 --markdown
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Run directories, or folders that hold run directories."""
    markdown: bool = False
    """Print the table as Markdown, for a README."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the reports, then print how the runs stand."""
        if problems := self._problems():
            return refuse(problems)
        from trainer.evidence import report
        from trainer.evidence.run_record import read
        from trainer.evidence.verdict import judge

        accounts = [read(run) for run in self._found()]  # all, before anything is written
        try:
            for account in progress(accounts, "writing", "reports"):
                report.write_files(account, judge([account]))
        except OSError as error:
            sys.stderr.write(f"failed: {error.filename}: {error.strerror}\n")
            return FAILED
        if self._is_one and not self.markdown:
            sys.stdout.write(f"{judge(accounts)}\n{accounts[0].run.guide()}")
        else:
            self._tell(accounts)
        return 0

    def _tell(self, accounts: "list[Account]") -> None:
        from trainer.evidence import runs_table

        found = runs_table.groups(accounts)
        if self.markdown:
            sys.stdout.write(runs_table.as_markdown(found))
            return
        show(runs_table.HEAD, runs_table.rows(found))
        sys.stdout.write("\n" + "".join(f"{line}\n" for line in runs_table.notes(found)))

    def _found(self) -> list[RunDirectory]:
        """The runs, each once, in the order given."""
        paths = [place for path in self.runs for place in _runs_in(path)]
        return [RunDirectory(path) for path in {path.resolve(): path for path in paths}.values()]

    @property
    def _is_one(self) -> bool:
        return len(self.runs) == 1 and RunDirectory(self.runs[0]).recipe.exists()

    def _problems(self) -> list[str]:
        if not self.runs:
            return ["RUN: missing; name one run directory or more"]
        holds = RunDirectory(Path()).recipe.name
        return [
            f"RUN: {path} is not a run directory: it holds no {holds}, and no folder in it does"
            if path.is_dir()
            else f"RUN: {path} is not a run directory: there is no such folder"
            for path in self.runs
            if not _runs_in(path)
        ]


def _runs_in(path: Path) -> list[Path]:
    """The run itself, or the runs that lie in a folder, sorted."""
    recipe = RunDirectory(path).recipe.name
    return [path] if (path / recipe).exists() else sorted(file.parent for file in path.glob(f"*/{recipe}"))
