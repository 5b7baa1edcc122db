"""A user's own files of code (`--import`): read, compared by SHA-256, executed once, and kept with a run.

A file is executed from the bytes that were hashed, as a module of a private name: nothing else can import it, and it
hides no installed package. Loads no torch by itself.
"""

import hashlib
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from data import durable
from data.output_folder import ForeignError, read_own
from data.plan.operations import POLICIES
from models.table import TABLE
from models.user_code import MODULE, located
from trainer.cpus import sleep_at_barriers
from trainer.optim.config import LOSSES, OPTIMIZERS
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError

MOST_BYTES = 1_000_000  # of a file
LOADED: dict[str, bytes] = {}
"""What this process has executed, by SHA-256."""


def resolved(recipe: Recipe, paths: Sequence[Path], run: Path | None) -> Recipe:
    """The recipe with the hashes of the user's files, once these are executed.

    Args:
        recipe: Where it has hashes, the files must have them.
        paths: The files. None: of the recipe's hashes, what this job was submitted with, or the copies in `run`.
        run: Run directory, which may not exist yet.

    Raises:
        InvalidConfigError: A file is missing, another one, or fails; or its copy could be another user's.
    """
    contents = _read(paths) if paths else {sha256: _kept(sha256, run) for sha256 in recipe.code or ()}
    if recipe.code not in (None, tuple(contents)):
        there = f"the recipe's is {', '.join(recipe.code)}; leave --import out to use the run's own copies"
        raise InvalidConfigError([f"--import: SHA-256 {', '.join(contents)}; {there}"])
    for sha256, (path, content) in contents.items():
        if sha256 not in LOADED:
            _execute(sha256, str(path), content)
    return replace(recipe, code=tuple(contents) or None)


def unnamed(recipe: Recipe) -> list[str]:
    """What the recipe uses of files that this process has executed and its hash does not hold, for the user."""
    row, files = TABLE.get(recipe.model.name), [f"{MODULE}{sha256[:16]}" for sha256 in recipe.code or ()]
    own = {
        "model.name": row and row.build,
        "loss.name": LOSSES.get(recipe.loss.name),
        "input.augment.policy": POLICIES.get(recipe.input.augment.policy),
        "optimizer.method": OPTIMIZERS.get(getattr(recipe.optimizer, "method", "")),
    }
    modules = {path: getattr(made_by, "__module__", "") or "" for path, made_by in own.items() if made_by}
    return [
        f"{path}: is of your own code, which is no part of this recipe; give its file: --import, or imports=[...]"
        for path, module in modules.items()
        if not files or (module.startswith(MODULE) and module not in files)
    ]


def copy(sha256: str, folder: Path) -> Path:
    """The copy of a file in a folder."""
    return folder / f"code-{sha256}.py"


def keep(recipe: Recipe, folder: Path) -> None:
    """Write copies of the recipe's files to a run directory, unless they are there."""
    for sha256 in recipe.code or ():
        file = copy(sha256, folder)
        if not file.is_file() or file.read_bytes() != LOADED[sha256]:
            durable.replace(file, LOADED[sha256], flushed=True)


def _read(paths: Sequence[Path]) -> dict[str, tuple[Path, bytes]]:
    """Path and content by SHA-256."""
    contents, problems = dict[str, tuple[Path, bytes]](), list[str]()
    for path in paths:
        try:
            if not path.is_file():
                raise OSError(0, "is no file" if path.exists() else "does not exist")
            if (size := path.stat().st_size) > MOST_BYTES:
                raise OSError(0, f"has {size:,} bytes; a file of code has at most {MOST_BYTES:,}")
            content = path.read_bytes()
            contents[hashlib.sha256(content).hexdigest()] = path, content
        except OSError as error:
            problems.append(f"--import: {path}: {error.strerror}")
    if problems:
        raise InvalidConfigError(problems)
    return contents


def _kept(sha256: str, run: Path | None) -> tuple[Path, bytes]:
    """A copy: in the archive of a job's code, whose hash the job has compared, or in the run."""
    if sha256 in LOADED:
        return Path(), LOADED[sha256]
    pinned, own = files("trainer") / copy(sha256, Path()).name, copy(sha256, run or Path())
    try:
        content = pinned.read_bytes() if pinned.is_file() else read_own(own)
    except ForeignError as error:
        raise InvalidConfigError([f"code: {error}; or read it, and if you trust it: --import {own}"]) from None
    except OSError as error:
        raise InvalidConfigError([f"code: {own}: {error.strerror}; give the file again: --import FILE"]) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InvalidConfigError([f"code: {own}: the file of this SHA-256 has changed; give it again: --import FILE"])
    return own, content


def _execute(sha256: str, path: str, content: bytes) -> None:
    sleep_at_barriers()  # before torch, which the file loads
    module = ModuleType(f"{MODULE}{sha256[:16]}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    try:
        with redirect_stdout(sys.stderr):  # stdout is for a command's own answers
            exec(compile(content, path, "exec", dont_inherit=True), vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        said = located(error)
        raise InvalidConfigError([f"--import: {said if path in said else f'{path}: {said}'}"]) from error
    LOADED[sha256] = content
