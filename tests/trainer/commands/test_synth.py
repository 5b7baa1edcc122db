import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import commands
from tests.commands import HANGS_S
from trainer.commands.cli import main

ROOT = Path(__file__).parents[3]
SLOW = {"torch", "torchvision", "numpy", "nvidia", "PIL"}
SMALL = ("--classes", "2", "--train-per-class", "3", "--val-per-class", "2")
LONG = ("--scale", "full", "--classes", "2", "--train-per-class", "900", "--val-per-class", "1")


def data(*arguments: str, before: str = "") -> subprocess.Popen[str]:
    """The command in a process group of its own, after some shell commands."""
    script = f'{before} exec "$@"'
    # an interrupt in the middle of an import leaves Python's own file open
    strict = ("-W", "error", "-W", "ignore::ResourceWarning")
    command = ["bash", "-c", script, "bash", sys.executable, *strict, "-m", "launch", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=HANGS_S)
    return process.returncode, output, errors


def test_one_command_makes_a_tree_and_says_what_there_is(tmp_path: Path) -> None:
    code, output, errors = finish(data("synth", str(tmp_path / "new/tree"), *SMALL))
    assert (code, errors) == (0, "")
    assert output.startswith(f"{tmp_path}/new/tree: 10 images (2 classes of 3 train and 2 val), 0.")
    assert " MB; 10 drawn in " in output
    assert json.loads((tmp_path / "new/tree/synth.json").read_text())["scale"] == "small"


def test_a_complete_tree_is_recognised_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", str(tmp_path / "tree"), *SMALL, "--workers", "1"]) == 0
    code, output, _ = finish(data("synth", str(tmp_path / "tree"), *SMALL))
    assert code == 0
    assert not SLOW & commands.loads("launch", "synth", tmp_path / "tree", *SMALL)
    assert output.endswith("; all there before\n")
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["synth", "--help"]])
def test_help_loads_nothing_that_takes_long(arguments: list[str]) -> None:
    code, output, errors = finish(data(*arguments))
    assert (code, errors) == (0, "")
    assert not SLOW & commands.loads("launch", *arguments)
    assert "make a procedural data set" in output.lower()


def test_help_states_ranges_units_and_defaults() -> None:
    _, output, _ = finish(data("synth", "--help"))
    words = " ".join(output.replace("│", " ").split())
    assert "Image sizes: full as ImageNet's (mean 484x402 pixels, 110 KB)" in words
    assert "2 to 40. (default: 10)" in words
    assert "--workers INT|{auto}" in words


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["synth", "OUT", "--classes", "41"], "  --classes: 41; must be at least 2 and at most 40\n"),
        (["synth", "OUT", "--classes", "1"], "  --classes: 1; must be at least 2 and at most 40\n"),
        (
            ["synth", "OUT", "--train-per-class", "0"],
            "  --train-per-class: 0; must be at least 1 and at most 1000000\n",
        ),
        (
            ["synth", "OUT", "--val-per-class", "1000001", "--seed", "4294967296"],
            "  --val-per-class: 1000001; must be at least 1 and at most 1000000\n"
            "  --seed: 4294967296; must be at least 0 and at most 4294967295\n",
        ),
        (["synth", "OUT", "--workers", "0"], "  --workers: 0; must be at least 1 and at most 256\n"),
        (["synth", "OUT", "--seed", "-1"], "  --seed: -1; must be at least 0 and at most 4294967295\n"),
        (["synth", "HERE"], "HERE holds mine.txt, no part of this data set; name another folder, or delete it\n"),
        (["synth", "HERE/mine.txt"], "HERE/mine.txt is a file; name a folder\n"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    (tmp_path / "mine.txt").touch()
    places = {"OUT": str(tmp_path / "out"), "HERE": str(tmp_path)}
    for name, place in places.items():
        arguments, reason = [argument.replace(name, place) for argument in arguments], reason.replace(name, place)
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"cannot start; nothing was written\n  {reason.lstrip()}"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("arguments", [["synth"], ["synth", "out", "--scale", "huge"], ["sinth", "out"], []])
def test_a_command_line_that_does_not_parse_ends_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.call(main, *arguments).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["synth", str(tmp_path / "file/tree"), *SMALL]) == 1
    assert capsys.readouterr().err.startswith(f"failed: {tmp_path}/file/tree: Not a directory; ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_takes_no_more_is_told_in_one_line(tmp_path: Path, workers: str) -> None:
    """A limit on the size of a file fails as a full disk does: in the middle of a write."""
    tree = tmp_path / "tree"
    limited = data("synth", str(tree), *SMALL, "--scale", "full", "--workers", workers, before="ulimit -f 24;")
    code, output, errors = finish(limited)
    assert (code, output) == (1, "")
    assert errors.startswith(f"failed: {tree}/train/")
    assert errors.endswith(".JPEG: File too large; once that is fixed, the same command goes on from here\n")
    assert len(errors.splitlines()) == 1
    assert finish(data("synth", str(tree), *SMALL, "--scale", "full"))[0] == 0
    assert len(list(tree.rglob("*.JPEG"))) == 10


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("images", [0, 20])
def test_ctrl_c_stops_with_one_line(tmp_path: Path, workers: str, images: int) -> None:
    """Also while the workers start; a terminal sends it to all of them."""
    tree = tmp_path / "tree"
    process = data("synth", str(tree), *LONG, "--workers", workers, "--quiet")  # a slow machine shows a rate
    while not (tree / "synth.json").exists() or len(list(tree.rglob("*.JPEG"))) < images:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    code, output, errors = finish(process)
    assert (code, output, errors) == (130, "", "interrupted; the same command goes on from here\n")
    assert not json.loads((tree / "synth.json").read_text())["complete"]


def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "launch", "synth", str(tmp_path / "tree"), *SMALL]
    content = b""
    with subprocess.Popen(command, cwd=ROOT, stderr=theirs, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"}):
        os.close(theirs)
        with suppress(OSError):  # the other side is closed
            while part := os.read(ours, 100_000):  # at most 4 KB each, of which a slow process writes more
                content += part
    os.close(ours)
    shown = content.decode()
    assert "10/10" in shown
    assert "images/s" in shown
