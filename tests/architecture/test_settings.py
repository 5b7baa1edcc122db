"""Every number among the settings has a range, which is written once and shown by `--help`."""

import ast
import dataclasses
import inspect
import textwrap
from typing import Any, get_args

import pytest

from data.catalog.pack_record import PackOptions
from data.plan.config import AugmentConfig, InputConfig
from data.synth.config import Synth
from launch.commands.array import Array
from launch.commands.logs import Logs
from launch.commands.reproduce import Reproduce
from launch.commands.run import Run
from launch.commands.status import Status
from launch.plan.config import PlanConfig
from launch.site import ClusterConfig
from models.config import ModelConfig
from tests.benchmarks import loaders_config
from tests.benchmarks.config import BenchConfig, EquivalenceConfig
from trainer.commands.doctor import DoctorSite
from trainer.commands.evaluate import Evaluate
from trainer.commands.networks import Export, Summary, Validate
from trainer.commands.ranges import in_words
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
    *(ClusterConfig, PlanConfig, Synth, PackOptions, Summary, Validate, Export),
    *(Run, Status, Array, Reproduce, Logs),
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


@pytest.mark.parametrize(("kind", "field"), BOUNDED, ids=lambda part: getattr(part, "__name__", None) or part.name)
def test_a_range_is_written_in_the_metadata_alone(kind: type, field: Any) -> None:
    text = docstring(kind, field.name)
    assert in_words(field.metadata) not in text
    assert "\n" not in text


def test_every_number_has_a_range() -> None:
    assert [f"{kind.__name__}.{field.name}" for kind, field in UNBOUNDED] == []


def test_every_range_has_two_ends() -> None:
    """A number with too many digits by a slip is refused, and not found in the curves a day later."""
    ends = ({"min", "above"}, {"max", "below"})
    open_ended = [(kind, field) for kind, field in BOUNDED if not all(field.metadata.keys() & end for end in ends)]
    assert [f"{kind.__name__}.{field.name}" for kind, field in open_ended] == []
