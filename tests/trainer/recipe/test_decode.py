import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer.recipe.decode import InvalidConfigError, decode, differences, encode, range_problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    name: Literal["step"] = "step"
    milestones: tuple[int, ...] = field(default=(30, 60), metadata={"above": 0})


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    name: Literal["cosine"] = "cosine"
    final: float = field(default=0.0, metadata={"min": 0, "below": 1})


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    schedule: Step | Cosine = field(default_factory=Cosine)
    lr: float = field(default=0.1, metadata={"above": 0})
    size: tuple[int, int] = (3, 4)
    epochs: int = field(default=90, metadata={"min": 1})
    precision: Literal["fp32", "bf16"] = "fp32"
    flip: bool = True
    title: str = ""
    ratio: float | None = field(default=None, metadata={"max": 1})


def problems_of(data: object) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        decode(Config, data)
    return caught.value.problems


def test_nothing_gives_the_defaults() -> None:
    assert decode(Config, {}) == Config()


def test_every_kind_of_field_is_read() -> None:
    data = {
        "schedule": {"name": "step", "milestones": [1, 2, 3]},
        "lr": 1,
        "size": [5, 6],
        "epochs": 2,
        "precision": "bf16",
        "flip": False,
        "title": "x",
        "ratio": 0.5,
    }
    expected = Config(
        schedule=Step(milestones=(1, 2, 3)),
        lr=1.0,
        size=(5, 6),
        epochs=2,
        precision="bf16",
        flip=False,
        title="x",
        ratio=0.5,
    )
    assert decode(Config, data) == expected
    assert isinstance(decode(Config, data).lr, float)


@pytest.mark.parametrize("config", [Config(), Config(schedule=Step(), ratio=0.25, size=(1, 2))])
def test_what_is_encoded_decodes_to_the_same(config: Config) -> None:
    assert decode(Config, encode(config)) == config


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"eposh": 3}, "eposh: unknown; did you mean epochs?"),
        ({"zzz": 3}, "zzz: unknown; known: schedule, lr, size, epochs, precision, flip, title, ratio"),
        ({"schedule": {"name": "cosine", "finall": 0.1}}, "schedule.finall: unknown; did you mean final?"),
        ({"schedule": {"name": "cosinus"}}, "schedule.name: 'cosinus' is unknown; did you mean cosine?"),
        ({"schedule": {"final": 0.1}}, "schedule.name: missing; choose one of step, cosine"),
        ({"schedule": "cosine"}, "schedule.name: missing; choose one of step, cosine"),
        ({"lr": "1e-4"}, "lr: '1e-4'; expected a number; write 0.0001 without quotes"),
        ({"lr": "fast"}, "lr: 'fast'; expected a number"),
        ({"lr": True}, "lr: True; expected a number"),
        ({"lr": 0}, "lr: 0.0; must be above 0"),
        ({"lr": float("nan")}, "lr: nan; must be finite and above 0"),
        ({"lr": float("inf")}, "lr: inf; must be finite and above 0"),
        ({"epochs": 90.0}, "epochs: 90.0; expected a whole number; write 90"),
        ({"epochs": 0}, "epochs: 0; must be at least 1"),
        ({"precision": "bf61"}, "precision: 'bf61' is not a choice; did you mean bf16?"),
        ({"flip": 1}, "flip: 1; expected true or false"),
        ({"title": 1}, "title: 1; expected text"),
        ({"size": [1, 2, 3]}, "size: [1, 2, 3]; expected a list of 2 values"),
        ({"size": [1, "2"]}, "size[1]: '2'; expected a whole number; write 2 without quotes"),
        ({"schedule": {"name": "step", "milestones": 30}}, "schedule.milestones: 30; expected a list of values"),
        ({"schedule": {"name": "step", "milestones": [3, 0]}}, "schedule.milestones[1]: 0; must be above 0"),
        ({"schedule": {"name": "cosine", "final": 1.0}}, "schedule.final: 1.0; must be at least 0 and below 1"),
        ({"ratio": 2.0}, "ratio: 2.0; must be at most 1"),
        ([1, 2], "recipe: [1, 2]; expected a section with named fields"),
    ],
)
def test_a_problem_names_path_value_and_mend(data: object, expected: str) -> None:
    assert problems_of(data) == [expected]


def test_all_problems_are_reported_at_once() -> None:
    data = {"lr": -1, "epochs": "x", "precision": "fp8", "schedule": {"name": "step", "milestone": []}, "sise": [1]}
    assert [problem.split(":")[0] for problem in problems_of(data)] == [
        "lr",
        "epochs",
        "precision",
        "schedule.milestone",
        "sise",
    ]


def test_ranges_hold_for_a_built_config_too() -> None:
    config = Config(lr=-1.0, schedule=Cosine(final=2.0), ratio=None)
    assert range_problems(config) == [
        "schedule.final: 2.0; must be at least 0 and below 1",
        "lr: -1.0; must be above 0",
    ]


def test_differences_name_each_leaf() -> None:
    ours, theirs = encode(Config(lr=0.2, schedule=Step())), encode(Config(ratio=0.5))
    assert differences(ours, theirs) == [
        ("schedule.name", "step", "cosine"),
        ("schedule.milestones", [30, 60], None),
        ("schedule.final", None, 0.0),
        ("lr", 0.2, 0.1),
        ("ratio", None, 0.5),
    ]
    assert differences(ours, ours) == []
    assert differences({}, {"init": {"weights": "w"}}) == [("init.weights", None, "w")]
    assert differences({"init": {"weights": "w"}}, {}) == [("init.weights", "w", None)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    data: Path = Path("/d")
    manifests: Path | None = None
    more: tuple[Path, ...] = ()


def test_paths_are_text_in_a_file_and_come_back() -> None:
    places = Places(data=Path('it\'s "x"/ü'), manifests=Path("/m"), more=(Path("a"), Path("b")))
    data = encode(places)
    assert data == {"data": 'it\'s "x"/ü', "manifests": "/m", "more": ["a", "b"]}
    assert decode(Places, json.loads(json.dumps(data))) == places
    assert decode(Places, encode(Places())) == Places()


@pytest.mark.parametrize("value", [3, 1.5, True, ["a"], {"a": 1}])
def test_what_is_no_path_is_named(value: Any) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        decode(Places, {"data": value})
    assert caught.value.problems == [f"data: {value!r}; expected a path"]
