import dataclasses
import subprocess
import sys

import pytest

from models.config import ModelConfig


def test_every_field_is_one_of_at_most_thirteen_promises() -> None:
    assert len(dataclasses.fields(ModelConfig)) <= 13


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
