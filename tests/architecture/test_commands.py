"""The verbs of `provenet`: their help, its examples, what they load, and how they refuse what cannot be."""

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import VERBS, main
from tests import commands
from trainer.commands import cli
from trainer.recipe.decode import InvalidConfigError

ROOT = Path(__file__).parents[2]
PREPARE = ("imagenet", "imagenette", "imagewoof", "cifar10", "cifar100")
SLOW = {"torch", "torchvision", "timm", "accelerate", "submitit", "numpy", "matplotlib", "tensorboard", "nvidia"}


def helped(*words: str) -> str:
    """What --help shows, its lines as long as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        done = commands.call(main, *words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_one_program_has_all_verbs() -> None:
    ours = ["train", "evaluate", "predict", "report", "checkpoints", "doctor", "prepare", "verify", "pack", "synth"]
    networks = [f"models {verb}" for verb in ("list", "summary", "validate", "export")]
    launch = ["submit", "status", "logs", "cancel", "resume", "array", "plan", "reproduce", "run", "completion"]
    assert list(VERBS) == [*ours, *networks, *launch]
    assert list(cli.VERBS) == [*ours, *networks]


@pytest.mark.parametrize("words", [(), ("models",)])
def test_the_overview_gives_each_command_a_line(words: tuple[str, ...]) -> None:
    head, *rows, end = [line for line in helped(*words).splitlines() if line]
    assert head == f"usage: provenet {' '.join([*words, 'COMMAND'])} ..."
    assert end == "provenet COMMAND --help shows a command's flags."
    names = [name for name in VERBS if not words or name.startswith("models ")]
    assert [row.split("  ")[1] for row in rows] == names
    for row in rows:
        assert row.endswith(".")
        assert len(row) < 140


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_s_examples_parse(verb: str) -> None:
    lines = re.findall(rf"^Example: provenet ({verb} .*|{verb})$", helped(*verb.split()), re.MULTILINE)
    assert lines
    for line in lines:
        try:
            cli.parse(shlex.split(line), VERBS)
        except InvalidConfigError as error:  # of a run that is not there
            assert verb == "resume"
            assert "was never submitted" in str(error)


@pytest.mark.parametrize("name", PREPARE)
def test_an_archive_s_example_parses(name: str) -> None:
    (line,) = re.findall(r"^Example: provenet (.*)$", helped("prepare", name), re.MULTILINE)
    cli.parse(shlex.split(line))


def test_no_help_loads_torch() -> None:
    code = f"""
import sys
from launch.cli import VERBS, main
main(["--help"])
for verb in VERBS:
    try:
        main([*verb.split(), "--help"])
    except SystemExit:
        pass
sys.exit(", ".join({SLOW} & sys.modules.keys()) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verb_loads_no_other_verb_s_module() -> None:
    code = """
import sys
from launch.cli import VERBS, main
main(["verify", "/nowhere"])
print(*sorted(({verb.module for verb in VERBS.values()} - {"launch.cli"}) & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "trainer.commands.verify\n"


# as pip writes it
SCRIPT = """
import sys
from launch.__main__ import console
if __name__ == "__main__":
    sys.exit(console())
"""
LAUNCHERS = {
    "provenet": (sys.executable, "SCRIPT"),
    "-m trainer": (sys.executable, "-m", "trainer"),
    "-m launch": (sys.executable, "-m", "launch"),
    "torchrun": ("torchrun", "--standalone", "SCRIPT"),
    "torchrun -m": ("torchrun", "--standalone", "-m", "trainer"),
    "accelerate": ("accelerate", "launch", "--cpu", "SCRIPT"),
    "accelerate -m": ("accelerate", "launch", "--cpu", "-m", "trainer"),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_what_lies_where_one_stands_or_on_the_path_is_not_taken_for_ours(launcher: str, tmp_path: Path) -> None:
    """Only a module of the name that Python itself is asked for comes before ours."""
    script = tmp_path / "bin" / "provenet"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    here, path = tmp_path / "here", tmp_path / "path"
    for folder, files in ((here, ("data.py", "numpy.py", "slurm.py")), (path, ("data.py",))):
        for name in (*files, "models/__init__.py"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("raise SystemExit('shadowed')\n")
    (here / ("trainer.py" if launcher == "-m launch" else "launch.py")).write_text("raise SystemExit('shadowed')\n")
    words = [word.replace("SCRIPT", str(script)) for word in LAUNCHERS[launcher]]
    words[0] = str(Path(sys.executable).with_name(words[0])) if words[0] != sys.executable else words[0]
    done = subprocess.run(
        [*words, "train", "demo", "--data", "nowhere", "--output", "run"],
        check=False,
        capture_output=True,
        text=True,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(path)},
    )
    assert done.returncode == (1 if "torchrun" in launcher or "accelerate" in launcher else 2), done.stderr
    assert "--data: nowhere does not exist" in done.stderr
    assert "shadowed" not in done.stdout + done.stderr


def prints(node: ast.AST) -> bool:
    """Whether a statement parses words, prints, or ends the process."""
    match node:
        case ast.Import(names=names):
            return any(alias.name.split(".")[0] in ("tyro", "argparse") for alias in names)
        case ast.ImportFrom(module=str(module)):
            return module.split(".")[0] in ("tyro", "argparse")
        case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" | "exit" | "argv"):
            return True
        case ast.Call(func=ast.Name(id="print" | "exit" | "SystemExit")):
            return True
        case _:
            return False


@pytest.mark.parametrize("library", ["data", "models"])
def test_a_library_parses_no_words_prints_nothing_and_ends_no_process(library: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in sorted((ROOT / library).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if prints(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("program", "words"), [("trainer", ("report", "--help")), ("launch", ("status", "--help")), ("launch.worker", ())]
)
def test_a_process_that_dies_of_a_signal_says_where_it_was(program: str, words: tuple[str, ...]) -> None:
    code = f"""
import os, runpy, signal, sys
sys.argv = ["{program}", *{words}]
try:
    runpy.run_module("{program}", run_name="__main__")
except (SystemExit, OSError, ValueError):
    os.kill(os.getpid(), signal.SIGSEGV)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in done.stderr


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("train resnet50", ("site", "model", "input", "input.augment", "optimizer", "schedule", "loss", "ema")),
        ("submit resnet50", ("cluster", "site", "model", "optimizer", "schedule")),
        ("array", ("cluster", "site")),
        ("plan resnet50", ("plan", "model", "optimizer")),
    ],
)
def test_flags_come_in_titled_groups(command: str, titles: tuple[str, ...]) -> None:
    text = helped(*command.split())
    for title in titles:
        assert f" {title} options " in text
    for prefix in ("--site.", "--cluster.", "--plan."):
        assert prefix not in text


LONG = (
    *("train", "evaluate", "predict", "report", "reproduce", "checkpoints", "doctor", "submit", "resume", "array"),
    *("synth", "verify", "pack", "models list", "models validate", "models export"),
)


@pytest.mark.parametrize("verb", LONG)
def test_what_takes_long_can_be_quiet(verb: str) -> None:
    assert "--quiet, --no-quiet" in helped(*verb.split())


MISTAKES = [
    ("", "COMMAND: missing; one of train, evaluate"),
    ("models", "COMMAND: missing; one of list, summary"),
    ("tarin demo", "tarin: unknown; did you mean train?\n  commands: train, evaluate"),
    ("--verbose", "--verbose: unknown"),
    ("train", "provenet train: missing\n      RECIPE\n"),
    ("train demmo --data D --output O", "recipe: 'demmo' is unknown; did you mean demo?"),
    ("train demo --output O", "      --data PATH\n"),
    ("train demo --data D --output O --optimiser.lr 1", "Perhaps you meant:\n      --optimizer.lr FLOAT"),
    ("train demo --data D --output O --epochs many", "--epochs: 'many' is no whole number"),
    ("train demo --data D --output O --optimizer.lr fast", "--optimizer.lr: 'fast' is no number"),
    ("train demo --data D --output O --precision fp8", "--precision: 'fp8'; expected one of 'fp32', 'tf32'"),
    ("train demo --data D --output O --epochs", "--epochs: wants 1 more"),
    ("train demo --data D --output O --threads few", "--threads: 'few'; expected {None}|INT"),
    ("train demo --data D --output O extra", "extra: unknown"),
    ("train demo --data NOWHERE --output O", "--data: NOWHERE does not exist"),
    ("evaluate", "WEIGHTS: missing"),
    ("evaluate runs/x --dta x", "Perhaps you meant:"),
    ("evaluate NOWHERE --data D", "'NOWHERE' names no weights"),
    ("evaluate timm/resnet18.a1_in1k --data D --protocol centre", "--protocol: 'centre' is unknown"),
    ("predict", "      WEIGHTS\n"),
    ("predict NOWHERE photos", "WEIGHTS: 'NOWHERE' names no weights"),
    ("predict timm/resnet18.a1_in1k NOWHERE", "IMAGES: NOWHERE does not exist"),
    ("report NOWHERE", "RUN: NOWHERE is not a run directory"),
    ("checkpoints", "      RUN\n"),
    ("reproduce demmo --data D --output O", "did you mean demo?"),
    ("submt demo", "submt: unknown; did you mean submit?\n"),
    ("submit demo --data D --output O --cluster k8s", "--cluster: 'k8s'; expected one of 'slurm', 'local'"),
    ("resume NOWHERE", "RUN: NOWHERE was never submitted"),
    ("array NOWHERE --data D --output O", "SWEEP: NOWHERE does not exist"),
    ("status NOWHERE", "ROOT: NOWHERE does not exist"),
    ("logs NOWHERE --rank first", "--rank: 'first'; expected {None}|INT"),
    ("plan demo --gpu h1000", "--gpu: 'h1000'; expected one of"),
    ("run --grace-s soon -- true", "--grace-s: 'soon' is no whole number"),
    ("sinth x", "sinth: unknown; did you mean synth?\n"),
    ("synth O --scale huge", "--scale: 'huge'; expected one of"),
    ("prepare mnist O", "Available subcommands: imagenet, imagenette, imagewoof, cifar10, cifar100"),
    ("prepare cifar10 O", "      --archive PATH\n"),
    ("verify NOWHERE", "ROOT: NOWHERE does not exist"),
    ("pack NOWHERE O", "SOURCE: NOWHERE does not exist"),
    ("models lst", "lst: unknown; did you mean models list?\n"),
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
    done = commands.call(main, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    head, *lines = done.stderr.splitlines()
    assert head == "cannot start; nothing was written"
    assert all(line.startswith("  ") for line in lines)
    assert 0 < len(lines) < 20
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == []
