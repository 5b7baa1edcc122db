"""What a user's file may do, and what is refused of it before anything is written."""

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from models import factory
from models.config import ModelConfig
from models.table import TABLE
from models.user_code import MODULE
from tests.commands import call
from trainer import extend, imports
from trainer.commands import cli
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RunDirectory
from trainer.sources import locate, with_code

NETWORK = """
from torch import nn
from trainer.extend import network

@network("tiny", image_size=32, num_classes=4)
def tiny(num_classes, in_channels, dropout=0.0, width=2):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(dropout), nn.Linear(width, num_classes))
"""


pytestmark = pytest.mark.usefixtures("forgotten")


def written(folder: Path, content: str | bytes = NETWORK, name: str = "own.py") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def begun(folder: Path, content: str = NETWORK) -> tuple[Recipe, RunDirectory]:
    """A run directory whose recipe has code, which this process then has not executed."""
    recipe = imports.resolved(Recipe(model=ModelConfig(name="tiny", num_classes=4)), [written(folder, content)], None)
    run = RunDirectory(folder / "run")
    run.make()
    run.path.chmod(0o755)
    run.begin(recipe)
    imports.LOADED.clear()
    TABLE.pop("tiny", None)
    return recipe, run


EXTEND = "from trainer.extend import *\nfrom trainer.extend import Op\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1\nif x\n", "own.py, line 2: SyntaxError: expected ':'"),
        ("import sys\n\n\nsys.exit(0)\n", "own.py, line 4: SystemExit: 0"),
        ("def f():\n    raise KeyError('a\\nb')\nf()\n", "own.py, line 2: KeyError: 'a\\nb'"),
        ("import helper\n", "own.py, line 1: ModuleNotFoundError: No module named 'helper'"),
        (b"x = 'caf\xe9'\n", "own.py, line 1: SyntaxError: (unicode error) 'utf-8' codec can't decode"),
        (b"x = 1\0\n", "own.py"),
        (f"{EXTEND}network('resnet50')(print)\n", "own.py, line 3: ValueError: network 'resnet50': there is one of"),
        (f"{EXTEND}loss('bce')(print)\n", "line 3: ValueError: loss 'bce': there is one of this name already"),
        (f"{EXTEND}policy('randaugment')\n", "policy 'randaugment': there is one of this name already"),
        (f"{EXTEND}optimizer('lion')(print)\n", "optimizer 'lion': there is one of this name already"),
        (f"{EXTEND}loss('../x')(print)\n", "loss '../x': expected a name of letters, digits, _ and -"),
        (f"{EXTEND}optimizer('mine')(dict)\n", "'mine': expected a subclass of torch.optim.Optimizer"),
        (f"{EXTEND}network('mine')(lambda classes: 0)\n", "TypeError: got an unexpected keyword argument"),
        (f"{EXTEND}policy('mine', ((Op.ROTATE, 2, 3), (Op.NONE, 0, 0)))\n", "expected two of (operation, 0 to 1, 0"),
        (f"{EXTEND}policy('mine')\n", "policy 'mine': (); expected two of"),
        (b" " * 1_000_001, "own.py: has 1,000,001 bytes; a file of code has at most 1,000,000"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_its_file_and_line(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    file = written(tmp_path, content)
    done = call(cli.main, "train", "demo", "--import", file, "--data", tmp_path / "no", "--output", tmp_path / "run")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith(f"cannot start; nothing was written\n  --import: {file}")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("name", "said"), [("", "is no file"), ("gone.py", "does not exist"), ("x" * 300, "too long")])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, said: str) -> None:
    done = call(cli.main, "models", "list", "--import", tmp_path / name)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_a_file_is_executed_once_under_a_name_that_hides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "print('executed', __name__)", "caf\udce9 numpy.py")
    link = tmp_path / "numpy.py"
    link.symlink_to(file)
    recipe = imports.resolved(Recipe(), [file, link, file], None)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert recipe.code == (digest,)
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"executed {MODULE}{digest[:16]}\n")
    assert str(file) not in str(sys.modules["numpy"].__file__)


def test_two_files_cannot_have_one_name(tmp_path: Path) -> None:
    files = [written(tmp_path), written(tmp_path, NETWORK + "# other", "other.py")]
    with pytest.raises(InvalidConfigError, match=r"other.py, line 5: ValueError: network 'tiny': there is one of"):
        imports.resolved(Recipe(), files, None)


def test_the_content_is_part_of_the_recipe_s_identity_and_none_is_the_recipe_without(tmp_path: Path) -> None:
    recipe, _ = begun(tmp_path)
    other = replace(recipe, code=("0" * 64,))
    assert len({recipe_hash(each) for each in (recipe, other, replace(recipe, code=None))}) == 3
    said = f"--import: SHA-256 {recipe.code[0]}; the recipe's is 0000.*; leave --import out"  # type: ignore[index]
    with pytest.raises(InvalidConfigError, match=said):
        imports.resolved(other, [tmp_path / "own.py"], None)


def test_a_run_s_network_is_made_by_its_own_copy_wherever_it_lies(tmp_path: Path) -> None:
    recipe, run = begun(tmp_path)
    (tmp_path / "own.py").unlink()
    moved = RunDirectory(run.path.rename(tmp_path / "moved"))
    moved.weights.touch()
    source = with_code(locate(str(moved.path), None))
    assert source.recipe == recipe
    assert factory.build(recipe.model)[-1].out_features == 4  # type: ignore[index, union-attr]


def test_a_run_s_network_is_not_mistaken_for_another_of_its_name(tmp_path: Path) -> None:
    _, run = begun(tmp_path)
    run.weights.touch()
    imports.resolved(Recipe(), [written(tmp_path, NETWORK + "# other")], None)
    with pytest.raises(InvalidConfigError, match=r"run: there is another network tiny now; leave --import out; of two"):
        with_code(locate(str(run.path), None))


def test_code_that_makes_no_network_is_not_executed_for_weights(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.begin(imports.resolved(Recipe(), [written(tmp_path, "pass")], None))
    run.weights.touch()
    imports.LOADED.clear()
    with_code(locate(str(run.path), None))
    assert not imports.LOADED


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.write_text("raise SystemExit('theirs')"), "the file of this SHA-256 has changed"),
        (lambda file: file.unlink(), "No such file or directory; give the file again: --import FILE"),
        (lambda file: file.chmod(0o666), "can be written by others; if what it says is yours: chmod go-w"),
        (lambda file: file.parent.chmod(0o777), "or read it, and if you trust it: --import"),
    ],
)
def test_a_copy_that_another_could_have_written_is_not_executed(tmp_path: Path, harm: object, said: str) -> None:
    recipe, run = begun(tmp_path)
    harm(imports.copy(recipe.code[0], run.path))  # type: ignore[operator, index]
    with pytest.raises(InvalidConfigError, match=said):
        imports.resolved(recipe, (), run.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as root alone may")
def test_another_user_s_copy_is_not_executed(tmp_path: Path) -> None:
    recipe, run = begun(tmp_path)
    os.chown(run.path, 4711, 4711)
    with pytest.raises(InvalidConfigError, match=r"belongs to another user \(uid 4711\)"):
        imports.resolved(recipe, (), run.path)


def test_the_next_start_restores_a_copy_that_was_damaged(tmp_path: Path) -> None:
    recipe, run = begun(tmp_path)
    copy = imports.copy(recipe.code[0], run.path)  # type: ignore[index]
    copy.write_text("")
    run.begin(imports.resolved(recipe, [tmp_path / "own.py"], run.path))
    assert copy.read_text() == NETWORK


@pytest.mark.parametrize("code", ["../../x", "0" * 64])
def test_hashes_without_a_file_are_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(InvalidConfigError, match="code: "):
        imports.resolved(Recipe(code=(code,)), (), tmp_path)


def test_models_shows_what_a_file_brings(tmp_path: Path) -> None:
    file = written(tmp_path)
    listed = call(cli.main, "models", "list", "tiny", "--import", file)
    assert listed.stdout.splitlines()[1].split() == ["tiny", "68", "0.000", "G", "32", "-"]
    shown = call(cli.main, "models", "summary", "tiny", "--import", file, "--options", "width=4", "--format", "csv")
    assert '1,Conv2d,"[64, 4, 30, 30]",112' in shown.stdout
    wrong = call(cli.main, "models", "summary", "tiny", "--import", file, "--options", "wide=4")
    assert "model.name: tiny cannot be built: ValueError: no argument wide; did you mean width?" in wrong.stderr


def test_what_another_recipe_s_file_registered_is_refused_without_that_file(tmp_path: Path) -> None:
    """In one process of several recipes, such as a notebook, a recipe's hash would not say what it trains."""
    plain = Recipe(model=ModelConfig(name="tiny", num_classes=4))
    assert imports.unnamed(plain) == []  # unknown, as others say
    own = imports.resolved(plain, [written(tmp_path)], None)
    other = imports.resolved(plain, [written(tmp_path, "ANSWER = 42", "other.py")], None)
    assert imports.unnamed(own) == []
    for recipe in (plain, other):
        (problem,) = imports.unnamed(recipe)
        assert problem.startswith("model.name: is of your own code")


def test_what_the_calling_program_registered_itself_is_refused() -> None:
    extend.network("direct")(lambda num_classes, in_channels: nn.Conv2d(in_channels, num_classes, 1))
    (problem,) = imports.unnamed(Recipe(model=ModelConfig(name="direct")))
    assert problem.startswith("model.name: is of your own code")
