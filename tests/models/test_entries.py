"""Files as other trainers write them, by their own writers where these are installed."""

import logging
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.utils.checkpoint_saver import CheckpointSaver
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models import factory, fitting, weights
from models.config import ModelConfig

CONFIG = ModelConfig(name="resnet20", num_classes=4)
State = Mapping[str, Tensor]


@cache
def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return factory.build(CONFIG)


RAW, EMA = trained(1), trained(2)


def behind(prefix: str, network: nn.Module, *, of: str = "") -> dict[str, Tensor]:
    return {prefix + key: value.clone() for key, value in network.state_dict().items() if key.startswith(of)}


def timm_s(path: Path) -> None:
    ema = ModelEmaV3(RAW)
    ema.module.load_state_dict(EMA.state_dict())
    optimizer = torch.optim.SGD(RAW.parameters(), lr=0.1, momentum=0.9)
    flags = Namespace(model="resnet20", lr=0.1, data="x")
    saver = CheckpointSaver(RAW, optimizer, args=flags, model_ema=ema, checkpoint_dir=str(path.parent))
    saver._save(path, epoch=3)


def torchvision_s(path: Path) -> None:
    """As references/classification/train.py writes it."""
    ema = AveragedModel(EMA, use_buffers=True)
    optimizer = torch.optim.SGD(RAW.parameters(), lr=0.1, momentum=0.9)
    for weight in RAW.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    content: dict[str, Any] = {"model": RAW.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    content |= {"args": Namespace(device="cuda"), "model_ema": ema.state_dict(), "scaler": {"scale": 65536.0}}
    torch.save(content, path)


def saved(content: Callable[[], object]) -> Callable[[Path], None]:
    return lambda path: torch.save(content(), path)


def lightning() -> dict[str, Any]:
    state = {**behind("model.", RAW), "loss.weight": torch.ones(4), "train_acc.total": torch.tensor(3)}
    content = {"state_dict": state, "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}]}
    return {**content, "hyper_parameters": {"lr": 0.1}, "callbacks": {"EMA": {"decay": 0.9}}, "loops": {}}


def mmpretrain() -> dict[str, Any]:
    body = {**behind("backbone.", RAW), **behind("head.", RAW, of="fc.")}
    body = {key: value for key, value in body.items() if not key.startswith("backbone.fc.")}
    return {"meta": {"epoch": 3, "cfg": "model = dict()"}, "state_dict": body, "message_hub": {"log_scalars": {}}}


def itself() -> dict[str, Any]:
    content: dict[str, Any] = {"state": {"nets": [behind("", RAW)]}}
    return {**content, "again": [content]} | {"state": content["state"] | {"up": content}}


def parted(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """With the classifier behind another prefix than all else."""
    return {
        f"{prefix}{'head' if key.startswith('fc.') else 'backbone'}.{key}": value
        for key, value in behind("", network).items()
    }


FILES: dict[str, tuple[Callable[[Path], None], nn.Module, str]] = {
    "timm": (timm_s, EMA, "took 'state_dict_ema' of the file, not 'state_dict' (the setting entry chooses)"),
    "torchvision": (torchvision_s, EMA, "took 'model_ema.module' of the file, not 'model' (the setting entry chooses)"),
    "Lightning": (saved(lightning), RAW, "took 'state_dict.model' of the file"),
    "mmpretrain": (saved(mmpretrain), RAW, "took 'state_dict.backbone' of the file"),
    "torch.compile": (saved(lambda: behind("_orig_mod.", RAW)), RAW, "took '_orig_mod' of the file"),
    "DDP in another wrapper": (saved(lambda: behind("net.module.", RAW)), RAW, "took 'net.module' of the file"),
    "two encoders": (
        saved(lambda: {**behind("module.encoder_q.", RAW), **behind("module.encoder_k.", EMA)}),
        RAW,
        "took 'module.encoder_q' of the file, not 'module.encoder_k' (the setting entry chooses)",
    ),
    "capitals": (
        saved(lambda: {"model": RAW.state_dict(), "EMA": EMA.state_dict()}),
        EMA,
        "took 'EMA' of the file, not 'model' (the setting entry chooses)",
    ),
    "average, then raw, in parts": (
        saved(lambda: {**parted("ema.", EMA), **parted("model.", RAW)}),
        EMA,
        "took 'ema.backbone' of the file, not 'model.backbone' (the setting entry chooses)",
    ),
    "raw, then average, in parts": (
        saved(lambda: {**parted("model.", RAW), **parted("ema.", EMA)}),
        EMA,
        "took 'ema.backbone' of the file, not 'model.backbone' (the setting entry chooses)",
    ),
    "average beside bare names": (
        saved(lambda: {**behind("", RAW), **behind("ema.", EMA)}),
        EMA,
        "took 'ema' of the file, not '' (the setting entry chooses)",
    ),
    "average without statistics": (
        saved(lambda: {"model": RAW.state_dict(), "ema": dict(EMA.named_parameters())}),
        RAW,
        "took 'model' of the file",
    ),
    "beside another network": (
        saved(lambda: {"ema": nn.Linear(3, 9).state_dict(), "nets": [RAW.state_dict()]}),
        RAW,
        "took 'nets.0' of the file",
    ),
    "behind one of other shapes": (
        saved(lambda: {"a": factory.build(replace(CONFIG, in_channels=1)).state_dict(), "b": RAW.state_dict()}),
        RAW,
        "took 'b' of the file",
    ),
    "in itself": (saved(itself), RAW, "took 'state.nets.0' of the file"),
}


def read(path: Path, entry: str | None = None) -> nn.Module:
    torch.manual_seed(3)
    network = factory.build(CONFIG)
    weights.put(network, weights.read(path), str(path), CONFIG, entry)
    return network


def same(network: nn.Module, other: nn.Module) -> bool:
    state, expected = network.state_dict(), other.state_dict()
    return all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("kind", FILES)
def test_the_network_is_found_in_each_trainer_s_file(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write, expected, note = FILES[kind]
    write(tmp_path / "w.pth")
    with caplog.at_level(logging.INFO):
        network = read(tmp_path / "w.pth")
    assert same(network, expected)
    assert caplog.messages == [f"weights: {note}"]


@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("timm", "raw", RAW),
        ("timm", "ema", EMA),
        ("timm", "state_dict", RAW),
        ("torchvision", "raw", RAW),
        ("torchvision", "model_ema", EMA),
        ("two encoders", "module.encoder_k", EMA),
        ("Lightning", "raw", RAW),
        ("raw, then average, in parts", "raw", RAW),
        ("average beside bare names", "raw", RAW),
    ],
)
def test_an_entry_is_chosen_by_name_or_kind(kind: str, entry: str, expected: nn.Module, tmp_path: Path) -> None:
    FILES[kind][0](tmp_path / "w.pth")
    assert same(read(tmp_path / "w.pth", entry), expected)


@pytest.mark.parametrize(
    ("kind", "entry", "listed"),
    [
        ("torchvision", "module", "'model', 'model_ema.module'"),
        ("Lightning", "ema", "'state_dict.model'"),
        ("torch.compile", "state_dict", "'_orig_mod'"),
    ],
)
def test_an_entry_that_is_not_there_is_refused_with_those_that_are(
    kind: str, entry: str, listed: str, tmp_path: Path
) -> None:
    FILES[kind][0](tmp_path / "w.pth")
    with pytest.raises(ValueError, match=re.escape(f"w.pth has no entry {entry!r}; it holds {listed}")):
        read(tmp_path / "w.pth", entry)


def test_a_classifier_of_other_classes_does_not_decide_for_another_entry(tmp_path: Path) -> None:
    six = factory.build(ModelConfig(name="resnet20", num_classes=6))
    torch.save({"model": six.state_dict(), "other": behind("", RAW, of="fc.")}, tmp_path / "w.pth")
    network = factory.build(CONFIG)
    found = weights.chosen(network, weights.read(tmp_path / "w.pth"), "w.pth", CONFIG)
    assert fitting.fit(network, found.state, CONFIG, None)
    assert torch.equal(network.get_parameter("conv1.weight"), six.get_parameter("conv1.weight"))


def test_a_classifier_of_another_whole_network_is_not_taken(tmp_path: Path) -> None:
    headless = {key: value for key, value in behind("student.", RAW).items() if ".fc." not in key}
    torch.save({**headless, **behind("teacher.", EMA)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="fc: weight is missing, bias is missing"):
        read(tmp_path / "w.pth", "student")


def test_a_projection_in_place_of_the_classifier_is_left_out_with_it(tmp_path: Path) -> None:
    state = {key: value for key, value in behind("module.encoder_q.", RAW).items() if ".fc." not in key}
    torch.save({"state_dict": state | {"module.encoder_q.fc.0.weight": torch.ones(9, 64)}}, tmp_path / "w.pth")
    network = factory.build(CONFIG)
    found = weights.chosen(network, weights.read(tmp_path / "w.pth"), "w.pth", CONFIG)
    assert fitting.fit(network, found.state, CONFIG, None)
    assert torch.equal(network.get_parameter("conv1.weight"), RAW.get_parameter("conv1.weight"))
    with pytest.raises(ValueError, match=r"fc\.0: weight is unexpected"):
        fitting.fit(network, found.state, CONFIG)


class Callbacks:
    """What a trainer may keep beside the weights."""


def test_a_file_with_objects_names_their_class_and_a_command_that_converts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a file's.ckpt"
    torch.save({"model": RAW, "state_dict": behind("model.", EMA), "callbacks": Callbacks()}, path)
    with pytest.raises(ValueError, match=r"ckpt holds objects of [\w.]+; what makes them is not run") as refused:
        weights.read(path)
    words = shlex.split(str(refused.value).partition(" are installed: ")[2])
    assert words[:2] == ["python", "-c"]
    monkeypatch.setattr(sys, "argv", ["-c", *words[3:]])
    exec(words[2], {})
    assert same(read(Path(words[-1]), "model"), RAW)
    assert same(read(Path(words[-1]), "state_dict"), EMA)
