from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from models import factory, reference, registry
from models.config import ModelConfig
from tests.models.planted import plant


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
    network = factory.build(ModelConfig(num_classes=5, **settings))
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
        factory.build(ModelConfig(**settings))


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


def test_torchvision_s_weights_come_with_their_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, weights = plant(tmp_path)
    monkeypatch.setenv("TORCH_HOME", environment["TORCH_HOME"])
    for name in ("resnet18.IMAGENET1K_V1", "resnet18"):
        found = reference.published("torchvision", name)
        assert (found.crop, found.resize, found.interpolation, found.top1) == (224, 256, "bilinear", 69.758)
        assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        assert torch.equal(found.network.state_dict()["conv1.weight"], weights["conv1.weight"])


def test_weights_that_there_are_none_of_are_refused() -> None:
    for package, name in (("torchvision", "resnet18.IMAGENET1K_V9"), ("timm", "resnet18.nobody")):
        with pytest.raises(ValueError, match=f"weights: {package} has no weights of '{name}' within reach"):
            reference.published(package, name)


TIMM = {
    "resnet18.a1_in1k": (288, 288, "bicubic"),  # test_crop_pct 1.0
    "inception_v3.tv_in1k": (299, 341, "bicubic"),  # floor(299 / 0.875)
    "beit_base_patch16_224.in22k_ft_in22k_in1k": (224, 248, "bicubic"),  # 0.9
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_s_weights_are_evaluated_at_timm_s_test_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`timm`'s own validate.py goes by the test size and share, where there are such."""

    def create(name: str, **_options: object) -> nn.Module:
        network = nn.Identity()
        network.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()  # type: ignore[union-attr,assignment]
        return network

    monkeypatch.setattr(timm, "create_model", create)
    found = reference.published("timm", name)
    assert (found.crop, found.resize, found.interpolation) == TIMM[name]
