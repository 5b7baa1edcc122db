import pytest
import torch

from models import reference, registry
from models.config import ModelConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "timm/resnet18", "in_channels": 4, "drop_path": 0.1, "dropout": 0.2},
        {"name": "torchvision/resnet18"},
        {"name": "torchvision/inception_v3", "aux_logits": False},
        {"name": "torchvision/googlenet"},
    ],
)
def test_a_package_s_own_network_is_built_with_the_options_it_takes(settings: dict) -> None:
    network = registry.build(ModelConfig(num_classes=5, **settings))
    assert network(torch.zeros(2, settings.get("in_channels", 3), 96, 96)).shape == (2, 5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "timm/resnet5O"}, "did you mean timm/resnet50"),
        ({"name": "timm/vgg11", "drop_path": 0.1}, "timm cannot build 'vgg11' with drop_path"),
        ({"name": "torchvision/resnet18", "aux_logits": True}, "torchvision cannot build 'resnet18' with aux_logits"),
        ({"name": "torchvision/googlenet", "aux_logits": True}, "aux_logits is fixed"),
    ],
)
def test_what_a_package_cannot_build_is_an_error_that_says_why(settings: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        registry.build(ModelConfig(**settings))


@pytest.mark.parametrize(
    ("name", "size"),
    [("timm/inception_v3", 299), ("torchvision/inception_v3", 299), ("timm/resnet18", 224), ("torchvision/vgg11", 224)],
)
def test_a_package_s_image_size_is_known(name: str, size: int) -> None:
    assert reference.image_size(name) == size


def test_every_network_has_a_counterpart() -> None:
    for name in registry.names():
        row = registry.entry(name)
        assert (row.reference is None) != (row.twin is None)
        assert row.twin is None or row.twin in reference.TWINS
