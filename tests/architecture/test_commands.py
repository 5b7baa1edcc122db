"""All commands of the four programs: their help, its examples, and how they refuse what cannot be."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data import cli as data
from launch import cli as launch
from models import cli as models
from tests import commands
from trainer import cli as trainer
from trainer.decode import InvalidConfigError

PROGRAMS = {"trainer": trainer, "launch": launch, "data": data, "models": models}
PREPARE = ("imagenet", "imagenette", "imagewoof", "cifar10", "cifar100")


def verbs(program: str) -> list[str]:
    """The commands, as the usage line of the overview has them."""
    found = re.search(r"\{([\w,]+)\}", helped(program))
    assert found
    return found[1].split(",")


def helped(program: str, *words: str) -> str:
    """What --help shows, its lines as long as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        done = commands.call(PROGRAMS[program].main, *words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


ALL = [(program, verb) for program in PROGRAMS for verb in verbs(program)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_overview_gives_each_command_a_line(program: str) -> None:
    rows = [line.strip("│| ") for line in helped(program).splitlines() if "•" in line]
    assert [row.split()[1] for row in rows] == verbs(program)
    for row in rows:
        assert row.endswith(".")
        assert len(row) < 140
    assert "Example" not in helped(program)


@pytest.mark.parametrize(("program", "verb"), ALL)
def test_a_command_s_examples_parse(program: str, verb: str) -> None:
    lines = re.findall(rf"^Example: .*python -m {program} ({verb} .*|{verb})$", helped(program, verb), re.MULTILINE)
    assert lines
    for line in lines:
        try:
            PROGRAMS[program].parse(shlex.split(line))
        except InvalidConfigError as error:  # of a run that is not there
            assert verb == "resume"
            assert "was never submitted" in str(error)


@pytest.mark.parametrize("name", PREPARE)
def test_an_archive_s_example_parses(name: str) -> None:
    (line,) = re.findall(r"^Example: python -m data (.*)$", helped("data", "prepare", name), re.MULTILINE)
    data.parse(shlex.split(line))


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_help_loads_torch(program: str) -> None:
    code = f"""
import sys
from {program}.cli import main
for verb in {verbs(program)}:
    try:
        main([verb, "--help"])
    except SystemExit:
        pass
slow = ("torch", "torchvision", "timm", "accelerate", "submitit", "numpy", "matplotlib", "tensorboard", "nvidia")
sys.exit(", ".join(name for name in slow if name in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", [*PROGRAMS, "launch.worker"])
def test_a_process_that_dies_of_a_signal_says_where_it_was(program: str) -> None:
    code = f"""
import os, runpy, signal, sys
sys.argv = ["{program}", "--help"]
try:
    runpy.run_module("{program}", run_name="__main__")
except (SystemExit, OSError):
    os.kill(os.getpid(), signal.SIGSEGV)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in done.stderr


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("trainer train resnet50", ("site", "model", "input", "input.augment", "optimizer", "schedule", "loss", "ema")),
        ("launch submit resnet50", ("cluster", "site", "model", "optimizer", "schedule")),
        ("launch array", ("cluster", "site")),
        ("launch plan resnet50", ("plan", "model", "optimizer")),
    ],
)
def test_flags_come_in_titled_groups(command: str, titles: tuple[str, ...]) -> None:
    text = helped(*command.split())
    for title in titles:
        assert f" {title} options " in text
    for prefix in ("--site.", "--cluster.", "--plan."):
        assert prefix not in text


LONG = [
    *(("trainer", verb) for verb in ("train", "evaluate", "report", "reproduce", "checkpoints", "doctor")),
    *(("launch", verb) for verb in ("submit", "resume", "array")),
    *(("data", verb) for verb in ("synth", "verify", "pack")),
    *(("models", verb) for verb in ("list", "validate", "export")),
]


@pytest.mark.parametrize(("program", "verb"), LONG)
def test_what_takes_long_can_be_quiet(program: str, verb: str) -> None:
    assert "--quiet, --no-quiet" in helped(program, verb)


MISTAKES = [
    ("trainer", "COMMAND: missing; one of train, evaluate"),
    ("trainer tarin demo", "tarin, demo: unknown; did you mean train?\n  Available subcommands: train"),
    ("trainer --verbose", "--verbose: unknown"),
    ("trainer train", "python -m trainer train: missing\n      RECIPE\n"),
    ("trainer train demmo --data D --output O", "recipe: 'demmo' is unknown; did you mean demo?"),
    ("trainer train demo --output O", "      --data PATH\n"),
    ("trainer train demo --data D --output O --optimiser.lr 1", "Perhaps you meant:\n      --optimizer.lr FLOAT"),
    ("trainer train demo --data D --output O --epochs many", "--epochs: 'many' is no whole number"),
    ("trainer train demo --data D --output O --optimizer.lr fast", "--optimizer.lr: 'fast' is no number"),
    ("trainer train demo --data D --output O --precision fp8", "--precision: 'fp8'; expected one of 'fp32', 'tf32'"),
    ("trainer train demo --data D --output O --epochs", "--epochs: wants 1 more"),
    ("trainer train demo --data D --output O --threads few", "--threads: 'few'; expected {None}|INT"),
    ("trainer train demo --data D --output O extra", "extra: unknown"),
    ("trainer train demo --data NOWHERE --output O", "--data: NOWHERE does not exist"),
    ("trainer evaluate", "WEIGHTS: missing"),
    ("trainer evaluate runs/x --dta x", "Perhaps you meant:"),
    ("trainer evaluate NOWHERE --data D", "'NOWHERE' is nothing that can be evaluated"),
    ("trainer evaluate timm/resnet18.a1_in1k --data D --protocol centre", "--protocol: 'centre' is unknown"),
    ("trainer report NOWHERE", "RUN: NOWHERE is not a run directory"),
    ("trainer checkpoints", "      RUN\n"),
    ("trainer reproduce demmo --data D --output O", "did you mean demo?"),
    ("launch submt demo", "submt, demo: unknown; did you mean submit?\n"),
    ("launch submit demo --data D --output O --cluster k8s", "--cluster: 'k8s'; expected one of 'slurm', 'local'"),
    ("launch resume NOWHERE", "RUN: NOWHERE was never submitted"),
    ("launch array NOWHERE --data D --output O", "SWEEP: NOWHERE does not exist"),
    ("launch status NOWHERE", "ROOT: NOWHERE does not exist"),
    ("launch logs NOWHERE --rank first", "--rank: 'first'; expected {None}|INT"),
    ("launch plan demo --gpu h1000", "--gpu: 'h1000'; expected one of"),
    ("launch run --grace-s soon -- true", "--grace-s: 'soon' is no whole number"),
    ("data", "COMMAND: missing; one of synth"),
    ("data sinth x", "sinth, x: unknown; did you mean synth?\n"),
    ("data synth O --scale huge", "--scale: 'huge'; expected one of"),
    ("data prepare mnist O", "Available subcommands: imagenet, imagenette, imagewoof, cifar10, cifar100"),
    ("data prepare cifar10 O", "      --archive PATH\n"),
    ("data verify NOWHERE", "ROOT: NOWHERE does not exist"),
    ("data pack NOWHERE O", "SOURCE: NOWHERE does not exist"),
    ("models lst", "lst: unknown; did you mean list?\n"),
    ("models list nothing*", "'nothing*' is unknown"),
    ("models summary resnet5O", "did you mean resnet50"),
    ("models summary resnet50 --format xml", "--format: 'xml'; expected one of 'table', 'csv', 'keras'"),
    ("models export resnet50 --to onnx", "      --weights STR\n"),
]


@pytest.mark.parametrize(("line", "expected"), MISTAKES)
def test_a_mistake_is_refused_in_the_same_voice_everywhere(
    line: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *words = line.split()
    done = commands.call(PROGRAMS[program].main, *words)
    assert (done.returncode, done.stdout) == (2, "")
    head, *lines = done.stderr.splitlines()
    assert head == "cannot start; nothing was written"
    assert all(line.startswith("  ") for line in lines)
    assert 0 < len(lines) < 20
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == []
