"""`provenet report`: its flags, its refusals, what it prints. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from trainer.exits import FAILED, refuse, say
from trainer.rundir import RunDirectory
from trainer.terminal import progress, show, write


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Write report.md, report.html and curves.png of runs again, and compare them with the published figures.

    Of several runs, prints a table: one row for all runs that differ only in their seed, with mean and deviation,
    verdict, hours and energy, followed by the published figures. With --output, also compares runs of any recipes, at
    any stage, on one page with their curves, and says what is not comparable.

    Example: provenet report runs/r50-seed0 runs/r50-seed1 runs/r50-seed2 --markdown

    Example: provenet report runs/r50 runs/r50-lr runs/r101 --output compared.md
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Run directories, or folders that hold run directories."""
    markdown: bool = False
    """Print the table as Markdown, for a README."""
    output: Path | None = None
    """File of a comparison of 2 to 20 runs, F.md; F.html and F.png are beside it. None: no comparison."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Write the reports, then print the verdict, or the table; returns the exit code."""
        if problems := self._problems():
            return refuse(problems)
        from trainer.evidence import comparison, report, runs_table
        from trainer.evidence.run_record import read
        from trainer.evidence.verdict import judge

        paths = {path.resolve(): path for named in self.runs for path in _runs_in(named)}  # each run once
        accounts = [read(RunDirectory(path)) for path in paths.values()]  # all, before anything is written
        if self.output:
            comparison.check(accounts, self.output)
        try:
            for account in progress(accounts, "writing", "reports"):
                report.write_files(account, judge([account]))
            if self.output:
                comparison.write(accounts, self.output)
        except OSError as error:
            return say(f"failed: {error.filename}: {error.strerror}", FAILED)
        groups = runs_table.groups(accounts)
        if self.markdown:
            write(runs_table.as_markdown(groups))
        elif len(self.runs) == 1 and _is_run(self.runs[0]):
            write(f"{groups[0].verdict}\n{accounts[0].run.guide(f'{accounts[0].stage}, not finished')}")
        else:
            show(runs_table.HEAD, runs_table.rows(groups))
            written = [f"compared in {self.output} and .html"] if self.output else []
            write("\n" + "".join(f"{line}\n" for line in (*runs_table.notes(groups), *written)))
        return 0

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
    return [path] if _is_run(path) else sorted(folder for folder in path.glob("*") if _is_run(folder))


def _is_run(path: Path) -> bool:
    return RunDirectory(path).recipe.exists()
