import dataclasses
import re
import subprocess
import sys

import pytest

from models.config import ModelConfig, arguments, check_arguments


def test_every_field_is_one_of_at_most_fourteen_promises() -> None:
    assert len(dataclasses.fields(ModelConfig)) <= 14


def test_every_option_defaults_to_the_network_s_own() -> None:
    options = [field for field in dataclasses.fields(ModelConfig) if field.name not in ("name", "num_classes")]
    assert {field.name for field in options if field.default is not None} == {"in_channels"}


@pytest.mark.parametrize(
    "statement",
    [
        "import models.config",
        "from models import registry; registry.problems(registry.ModelConfig(name='timm/resnet5O'), 224)",
    ],
)
def test_what_runs_before_a_build_loads_no_torch(statement: str) -> None:
    check = "import sys; assert not {'torch', 'timm', 'torchvision'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{statement}; {check}"], check=True)


def test_arguments_are_python_s_values_and_text() -> None:
    found = arguments(["a=1e-5", "b=(0.9, 0.98)", "c=avg", "d=false", "e = None", "f=1=2", "g=[1", "h='x'"])
    assert found == dict(a=1e-5, b=(0.9, 0.98), c="avg", d=False, e=None, f="1=2", g="[1", h="x")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["init_values"], "'init_values'; expected NAME=VALUE"),
        (["=3"], "'=3'; expected NAME=VALUE"),
        (["a="], "'a='; expected NAME=VALUE"),
        (["a b=1"], "'a b=1'; expected NAME=VALUE"),
        (["a=1", "a=2"], "a is there twice"),
    ],
)
def test_other_arguments_are_refused(settings: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        arguments(settings)


def test_an_argument_that_is_not_named_is_refused_though_any_is_taken() -> None:
    def builder(depth: int, in_chans: int, **kwargs: object) -> None: ...

    check_arguments(["depth"], builder, ["in_chans"])
    for name, hint in (("dept", "did you mean depth?"), ("in_chans", "it takes depth"), ("kwargs", "it takes depth")):
        with pytest.raises(ValueError, match=re.escape(f"no argument {name}; {hint}")):
            check_arguments([name], builder, ["in_chans"])
