import pytest
import torch
from torch import Tensor

from models import factory, mapping, reference, registry
from models.config import ModelConfig

# Keys on both sides, by module: hand-written.
EXAMPLES = [
    ("models.ghostnet", "conv1.weight", "conv_stem.weight"),
    ("models.ghostnet", "fc.bias", "classifier.bias"),
    ("models.ghostnet", "blocks.0.0.ghost1.primary_conv.0.weight", "blocks.0.0.ghost1.primary_conv.0.weight"),
    ("models.ghostnet", "bn1.running_mean", "bn1.running_mean"),
    ("models.ghostnet", "conv_head.bias", "conv_head.bias"),
    ("models.resnet", "layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ("models.inception", "Mixed_6a.branch3x3.bn.weight", "Mixed_6a.branch3x3.bn.weight"),
]


@pytest.mark.parametrize(("module", "ours", "theirs"), EXAMPLES)
def test_a_key_is_renamed_there_and_back(module: str, ours: str, theirs: str) -> None:
    value = torch.zeros(1)
    assert mapping.to_reference({ours: value}, module) == {theirs: value}
    assert mapping.from_reference({theirs: value}, module) == {ours: value}
    assert mapping.from_reference({ours: value}, module) == {ours: value}  # ours stay ours


@pytest.mark.parametrize("name", registry.names())
def test_every_key_and_shape_is_carried_there_and_back(name: str) -> None:
    row = registry.entry(name)
    with torch.device("meta"):
        ours = factory.build(ModelConfig(name=name, num_classes=row.num_classes)).state_dict()
        theirs = reference.twin(name).state_dict()
    assert shapes(mapping.to_reference(ours, row.module)) == shapes(theirs)
    assert shapes(mapping.from_reference(theirs, row.module)) == shapes(ours)


def shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}
