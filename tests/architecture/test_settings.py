"""Every setting says its range where `--help` shows it."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from data.catalog.pack_record import PackOptions
from data.config import Synth
from data.plan.config import AugmentConfig, InputConfig
from launch.plan.config import PlanConfig
from launch.site import ClusterConfig
from models.config import ModelConfig
from tests.benchmarks import loaders_config
from tests.benchmarks.config import BenchConfig, EquivalenceConfig
from trainer.commands.doctor import DoctorSite
from trainer.commands.evaluate import Evaluate
from trainer.optim.config import (
    AnyOptimizer,
    AnySchedule,
    EmaConfig,
    LossConfig,
    MixingConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from trainer.recipe.config import Recipe, SiteConfig

KINDS: list[Any] = [
    *(Recipe, OptimizerConfig, *get_args(AnyOptimizer), ScheduleConfig, *get_args(AnySchedule)),
    *(LossConfig, MixingConfig, EmaConfig, ModelConfig, InputConfig, AugmentConfig),
    *(SiteConfig, DoctorSite, Evaluate, BenchConfig, EquivalenceConfig, loaders_config.BenchConfig),
    *(ClusterConfig, PlanConfig, Synth, PackOptions),
]
BOUNDED = [(kind, field) for kind in KINDS for field in dataclasses.fields(kind) if field.metadata]
UNBOUNDED = [
    (kind, field)
    for kind in KINDS
    for field in dataclasses.fields(kind)
    if not field.metadata and str(field.type).removesuffix(" | None") in ("int", "float")
]


def docstring(kind: type, name: str) -> str:
    kind = next(base for base in kind.__mro__ if name in vars(base).get("__annotations__", {}))
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    targets = [line.target.id if isinstance(line, ast.AnnAssign) else "" for line in definition.body]  # type: ignore[union-attr]
    text = definition.body[targets.index(name) + 1]
    assert isinstance(text, ast.Expr)
    return str(ast.literal_eval(text.value))


def in_words(bounds: Mapping[str, float]) -> str:
    match bounds:
        case {"min": low, "max": high}:
            return f"{low:,} to {high:,}"
        case {"min": low, "below": high}:
            return f"from {low:,g}, below {high:,}"
        case {"above": low, "max": high}:
            return f"above {low:,}, at most {high:,}"
        case {"above": low, "below": high}:
            return f"above {low:,}, below {high:,}"
        case {"above": low}:
            return f"above {low:,}"
        case {"min": low}:
            return f"at least {low:,}"
        case _:
            raise AssertionError(f"no words for {bounds}")


@pytest.mark.parametrize(("kind", "field"), BOUNDED, ids=lambda part: getattr(part, "__name__", None) or part.name)
def test_a_setting_says_its_range_in_one_line(kind: type, field: Any) -> None:
    text = docstring(kind, field.name)
    assert in_words(field.metadata) in text
    assert "\n" not in text


def test_every_number_has_a_range() -> None:
    assert [f"{kind.__name__}.{field.name}" for kind, field in UNBOUNDED] == []
