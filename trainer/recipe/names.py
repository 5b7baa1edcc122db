"""Names in recipes that may be of a user's code (`--import`). Standard library only."""

import difflib
import importlib.util
import re
from pathlib import Path
from typing import get_args

from data.plan.config import Policy
from data.plan.operations import POLICIES
from models.config import arguments
from trainer.optim.config import LOSSES, OPTIMIZERS, TimmConfig
from trainer.recipe.config import Recipe
from trainer.recipe.decode import suggest


def name_problems(recipe: Recipe) -> list[str]:
    """Names that neither we nor the user's files know, and malformed options of timm's optimizers."""
    losses, policies = ("cross_entropy", "bce", *LOSSES), (*get_args(Policy), *POLICIES)
    named = (("loss.name", recipe.loss.name, losses), ("input.augment.policy", recipe.input.augment.policy, policies))
    unknown = [
        f"{path}: {name!r} is unknown{suggest(name, known)}; known: {', '.join(known)}; --import FILE brings your own"
        for path, name, known in named
        if name not in known
    ]
    return unknown + (_timm_problems(recipe.optimizer) if isinstance(recipe.optimizer, TimmConfig) else [])


def timm_methods() -> list[str]:
    """Names of timm's optimizers, read from its source, as an import would load torch."""
    spec = importlib.util.find_spec("timm")
    source = Path(spec.origin).parent / "optim" / "_optim_factory.py" if spec and spec.origin else None
    return re.findall(r"name='(\w+)'", source.read_text()) if source and source.is_file() else []


def _timm_problems(optimizer: TimmConfig) -> list[str]:
    """A name that is unknown; malformed options."""
    known, problems = [*timm_methods(), *OPTIMIZERS], list[str]()
    if optimizer.method not in known:
        near = difflib.get_close_matches(optimizer.method, known, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(sorted(known))}"
        problems.append(f"optimizer.method: {optimizer.method!r} is no optimizer of timm{hint}")
    try:
        arguments(optimizer.options or ())
    except ValueError as error:
        problems.append(f"optimizer.options: {error}")
    return problems
