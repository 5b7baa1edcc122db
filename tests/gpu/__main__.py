"""`python -m tests.gpu`: runs on one GPU what no CPU can test; says PASS or FAIL of each part."""

import argparse
import datetime
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic

import torch

from tests.gpu import child
from tests.gpu.section import IMAGES, SECTIONS
from tests.gpu.stage import Check, Stage

PATIENCE = 5  # times the limits of a GPU machine, for a rehearsal
HEAD = "| part | what | measured | goal | |\n| --- | --- | --- | --- | --- |\n"
Rows = dict[str, list[Check]]


def main(words: list[str] | None = None) -> int:
    """Run the sections.

    Returns:
        Exit code: 0 where all of them passed.
    """
    options = _options(words)
    if not (options.rehearse or torch.cuda.is_available()):
        for name in options.only:
            _say(f"SKIP  {name}: no GPU")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit, too, leaves the table of what was done
    rows: Rows = {}
    try:
        with tempfile.TemporaryDirectory(prefix="provenet-gpu-") as folder:
            _run(options, Stage(folder=Path(folder), rehearsal=options.rehearse), rows)
    except KeyboardInterrupt:
        _say("interrupted")
    if not options.output:
        _say(table(rows, options.rehearse))
    undone = [name for name in options.only if name not in rows]
    failed = [name for name, checks in rows.items() if not all(check.passed for check in checks)]
    _say(f"failed: {', '.join(failed) or 'none'}; not run: {', '.join(undone) or 'none'}")
    return 1 if failed or undone else 0


def _run(options: argparse.Namespace, stage: Stage, rows: Rows) -> None:
    end = monotonic() + 60 * options.minutes
    chosen = {"images": IMAGES} | {name: SECTIONS[name] for name in options.only}
    for name, section in chosen.items():
        limit_s = min(section.limit_s * (PATIENCE if options.rehearse else 1), end - monotonic())
        if limit_s < 1:
            return
        rows[name] = _section(name, limit_s, stage)
        if name == "images" and not all(check.passed for check in rows[name]):
            return
        if options.output:
            options.output.write_text(table(rows, options.rehearse))


def _section(name: str, limit_s: float, stage: Stage) -> list[Check]:
    checks: list[Check] = []

    def show(check: Check) -> None:
        checks.append(check)
        _say(
            f"{_verdict(check.passed)}  {name}: {check.what}: {check.figure}" + (f" ({check.goal})" * bool(check.goal))
        )

    seconds = child.run([sys.executable, "-m", "tests.gpu.section", name, stage.encode()], limit_s, show, stage)
    _say(f"{_verdict(all(check.passed for check in checks))}  {name}: {seconds:.0f} s")
    return checks


def table(rows: Rows, rehearsal: bool = False) -> str:
    """What was measured, for trainer/RESULTS.md."""
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() and not rehearsal else "a CPU, as a rehearsal"
    lines = (
        f"| {name} | {check.what} | {check.figure} | {check.goal} | {_verdict(check.passed)} |\n"
        for name, checks in rows.items()
        for check in checks
    )
    return f"measured on {card}, {datetime.date.today():%Y-%m-%d}\n\n{HEAD}{''.join(lines)}"


def _verdict(passed: bool) -> str:
    return "PASS" if passed else "FAIL"


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections; all by default")
    parser.add_argument("--output", type=Path, help="file for a table in Markdown, written after each section")
    parser.add_argument("--minutes", type=float, default=8, help="time for all; 8 by default")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU and small, to test the sections: their speeds mean nothing"
    )
    return parser.parse_args(words)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
