import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from models import export, factory, registry
from models.config import ModelConfig


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
