import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from models import export, factory, registry, weights
from models.config import ModelConfig
from models.weights import Origin


def resnet20() -> tuple[nn.Module, ModelConfig]:
    config = ModelConfig(name="resnet20", num_classes=10)
    torch.manual_seed(0)
    network = factory.build(config)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 32, 32))  # so that running statistics count
    return network, config


@pytest.mark.parametrize("to", ["pt2", "safetensors"])
def test_a_file_computes_what_the_network_does_at_several_batches(to: export.Format, tmp_path: Path) -> None:
    network, config = resnet20()
    path = tmp_path / f"net.{to}"
    assert export.export(network, config, path, to, image_size=32) <= 1e-6
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "ghostnet_050", "inception_v3"])
def test_an_onnx_program_runs_in_onnxruntime_at_several_batches(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = ModelConfig(name=name, num_classes=10)
    network = factory.build(config)
    assert export.export(network, config, tmp_path / "net.onnx", "onnx", registry.entry(name).min_size) <= export.LIMIT


def test_safetensors_hold_the_config_that_builds_the_network(tmp_path: Path) -> None:
    network, config = resnet20()
    export.export(network, config, tmp_path / "net.safetensors", "safetensors", image_size=32)
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert ModelConfig(**json.loads(file.metadata()["model"])) == config


def test_a_network_that_the_file_does_not_reproduce_leaves_no_file(tmp_path: Path) -> None:
    network, config = resnet20()
    network.get_submodule("bn1").eps = 0.5  # type: ignore[assignment]  # not in a state dict
    with pytest.raises(export.ParityError, match="not written"):
        export.export(network, config, tmp_path / "net.safetensors", "safetensors", image_size=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "theirs"), [("ghostnet_050", "ghostnet_050"), ("timm/test_vit", "test_vit")])
def test_timm_loads_a_folder_and_computes_the_same(name: str, theirs: str, tmp_path: Path) -> None:
    options = ("global_pool=avg", "class_token=False", "init_values=0.1") if theirs == "test_vit" else None
    config = ModelConfig(name=name, num_classes=5, options=options)
    torch.manual_seed(0)
    network, size = factory.build(config).eval(), 160 if theirs == "test_vit" else 35
    said = Origin(
        classes=("a", "b", "c", "d", "e"),
        input={"mean": (0.5,) * 3, "std": (0.25,) * 3, "eval_resize": 60 * size // 35, "eval_crop": size},
    )
    assert export.export(network, config, tmp_path / "hub", "hub", size, said) <= 1e-6
    loaded: Any = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    settings = resolve_model_data_config(loaded)
    transform: Any = create_transform(**settings)
    assert [*map(list, (settings["input_size"], settings["mean"], settings["std"]))] == [
        [3, size, size],
        [0.5] * 3,
        [0.25] * 3,
    ]
    assert settings["interpolation"] == "bilinear"
    assert transform.transforms[0].size == said.input["eval_resize"]  # 60 for 35: timm rounds down
    assert loaded.pretrained_cfg["label_names"] == ["a", "b", "c", "d", "e"]
    assert loaded.pretrained_cfg["architecture"] == theirs
    assert weights.read(tmp_path / "hub" / "model.safetensors")[1].model == config
    other: Any = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True, num_classes=7)  # to fine-tune it there
    assert other(images).shape == (2, 7)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ModelConfig(name="resnet20"), "timm has no resnet20"),
        (ModelConfig(name="resnet18", deep_stem=True), "its timm/resnet18 is another network: .*conv1"),
        (ModelConfig(name="resnet18", blur_pool="after"), "logits differ from the network's"),
    ],
)
def test_what_timm_has_not_leaves_no_folder(config: ModelConfig, reason: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, export.ParityError), match=reason):
        export.export(factory.build(config), config, tmp_path / "hub", "hub", 64)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "partial-hub").mkdir()
    network, config = resnet20()
    with pytest.raises(ValueError, match="partial-hub first, which is there; delete it"):
        export.export(network, config, tmp_path / "hub", "hub", 32)
    assert [file.name for file in tmp_path.iterdir()] == ["partial-hub"]
