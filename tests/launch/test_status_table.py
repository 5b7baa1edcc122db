import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, Group

from launch.progress import Progress
from launch.run_state import State
from launch.status_table import HEAD, Board, Row, picture, screenful, show
from tests.commands import HANGS_S

ROW = Row(
    run="sweep/lr-0.1",
    state="running",
    job="12_3",
    progress=Progress(step=12_000, total_steps=450_450, epoch=3, epochs=90, top1=71.234, images_per_s=2530.3),
    restarts=2,
    eta_s=47_000.0,
    note="on n[1-2]",
)
EMPTY = replace(
    ROW,
    state="not running",
    job=None,
    progress=Progress(total_steps=450_450, epochs=90),
    restarts=None,
    eta_s=None,
    note="",
)


def drawn(group: Group, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(group)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_cells_stand_below_the_head() -> None:
    cells = ("sweep/lr-0.1", "running", "12_3", "12,000/450,450", "3/90", "71.23", "2,530", "2", "13 h", "on n[1-2]")
    assert ROW.cells() == cells
    assert len(cells) == len(HEAD)
    assert EMPTY.cells()[2:] == ("-",) * 7 + ("",)


def test_nothing_of_a_file_moves_the_cursor() -> None:
    row = replace(ROW, run="a\x1b[2Jb\n", job="\x07", note="x\ny\x1b]0;t\x07")
    assert [row.cells()[place] for place in (0, 2, 9)] == ["a\\x1b[2Jb\\n", "\ufffd", "x y"]


def test_a_wide_terminal_has_the_note_beside_the_rest() -> None:
    head, line = drawn(picture([ROW], 140), 140)
    assert head.split()[-1] == "note"
    assert line.endswith("13 h on n[1-2]")


def test_a_narrow_terminal_has_the_notes_below() -> None:
    lines = [line for line in drawn(picture([ROW, EMPTY], 80), 80) if line]
    assert max(map(len, lines)) <= 80
    assert "running" in lines[1]
    assert "[1-2]" in lines[-1]
    assert lines[-1].startswith("sweep/lr-0.1: ")


def test_markup_in_a_name_is_text() -> None:
    assert drawn(picture([replace(ROW, run="[red]x[/red]")], 140), 140)[1].startswith("[red]x[/red]")


def test_a_screen_takes_what_is_under_way_first(tmp_path: Path) -> None:
    states: tuple[State, ...] = ("finished", "stopped", "running", "finished", "lost", "queued")
    rows = [replace(ROW, run=f"{number}", state=state) for number, state in enumerate(states)]
    lines = drawn(screenful(Board(tmp_path, rows, ["squeue: no"]), 140, 9), 140)
    assert [line.split()[0] for line in lines[1:5]] == ["2", "5", "1", "4"]
    assert "and 2 more" in lines[5]
    assert "squeue: no" in lines[6]
    assert "6 runs in" in lines[7]
    assert len(lines) < 9


def test_remarks_are_no_part_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(Board(tmp_path, [ROW], ["squeue: no"]), as_json=False)
    found = capsys.readouterr()
    assert found.out.splitlines()[1].split()[:2] == ["sweep/lr-0.1", "running"]
    assert found.err == "launch: squeue: no\n"


def test_a_watched_table_ends_at_ctrl_c_without_failing(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from launch.commands.status import Status; "
    code += f"sys.exit(Status(root=Path({str(tmp_path)!r}), watch=(1.0,)).run())"
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + HANGS_S
    while seen.count(b"Ctrl-C ends") < 2 and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=HANGS_S) == 0
    assert seen.count(b"Ctrl-C ends") >= 2
    assert b"Traceback" not in seen
    os.close(ours)
