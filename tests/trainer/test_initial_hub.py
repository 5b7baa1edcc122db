"""Weights as the Hugging Face hub has them: a folder that timm has written, and a filled cache of the hub."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from timm.models import save_for_hf
from torch import nn

from data.plan.config import InputConfig
from models import factory
from models.config import ModelConfig
from trainer import initial, sources
from trainer.commands.cli import main
from trainer.evaluation.trained_network import UnusableWeightsError, load_subject
from trainer.initial import OtherWeightsError
from trainer.recipe.config import InitConfig, Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.sources import locate

REVISION = "a" * 40
TINY = Recipe(model=ModelConfig(name="timm/test_resnet", num_classes=4), input=InputConfig())


def network() -> nn.Module:
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    said = {"label_names": list("abcd"), "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}
    save_for_hf(network(), str(tmp_path / "hub"), model_config=said, safe_serialization=True)
    return tmp_path / "hub"


@pytest.fixture
def cached(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of me/net in a cache, on a machine without a network."""
    repository = tmp_path / "cache" / "models--me--net"
    snapshot = repository / "snapshots" / REVISION
    shutil.copytree(folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def beginning(text: str, recipe: Recipe = TINY) -> Recipe:
    return replace(recipe, init=InitConfig(weights=text))


def test_a_run_begins_from_a_hub_s_folder_and_from_its_cache(folder: Path, cached: Path) -> None:
    assert cached.is_dir()
    expected, hashes = network().state_dict(), set[str | None]()
    for text in (f"local-dir:{folder}", "hf-hub:me/net", "hf-hub:me/net@main"):
        found, notes = initial.resolved(beginning(text))
        ours = factory.build(TINY.model)
        initial.load(ours, found)
        assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
        assert found.input.mean == (0.1, 0.2, 0.3)
        assert (found.input.train_size, found.input.eval_crop, found.input.eval_resize) == (160, 160, 168)
        assert "with its classifier, too" in notes[0]
        hashes.add(found.init.sha256)
    assert hashes == {initial.fingerprint(expected)}


def test_weights_that_left_the_cache_are_named_when_the_run_starts(cached: Path) -> None:
    recipe = initial.resolved(beginning("hf-hub:me/net"))[0]
    shutil.rmtree(cached)
    with pytest.raises(OtherWeightsError, match=r"has changed: .*timm has no weights of 'hf-hub:me/net' within reach"):
        initial.load(factory.build(TINY.model), recipe)


def test_a_folder_of_another_network_is_refused_by_name(folder: Path) -> None:
    other = replace(TINY, model=ModelConfig(name="timm/resnet18", num_classes=4))
    refused = "holds test_resnet, not timm/resnet18; set model.name to timm/test_resnet"
    with pytest.raises(InvalidConfigError, match=refused):
        initial.resolved(beginning(f"local-dir:{folder}", other))


def test_a_folder_is_known_wherever_the_next_start_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    found, _ = initial.resolved(beginning("local-dir:hub"))
    assert found.init.weights == f"local-dir:{folder}"
    assert sources.adopted(beginning(f"local-dir:{folder}"), found) == found
    assert sources.placed("hf-hub:me/net") == "hf-hub:me/net"


def test_a_folder_s_network_is_evaluated_under_the_names_of_its_classes(folder: Path) -> None:
    found = load_subject(locate(f"local-dir:{folder}", None))
    images = torch.randn(2, 3, 160, 160)
    assert found.classes == tuple("abcd")
    assert found.input.mean == (0.1, 0.2, 0.3)
    assert torch.equal(found.network(images), network().eval()(images))


def test_a_folder_s_network_is_exported(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.safetensors"
    words = ["timm/test_resnet", "--weights", f"local-dir:{folder}", "--to", "safetensors", "--output", str(file)]
    assert main(["models", "export", *words]) == 0
    found = load_subject(locate(str(file), None))
    assert (found.classes, found.input.mean, found.num_classes) == (tuple("abcd"), (0.1, 0.2, 0.3), 4)
    assert f"{file}: logits within" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_an_exported_network_is_evaluated_on_the_same_pixels(folder: Path, tmp_path: Path, mode: str) -> None:
    settings = json.loads((folder / "config.json").read_text())
    settings["pretrained_cfg"] |= {"crop_mode": mode, "crop_pct": 1.0, "interpolation": "bicubic"}
    (folder / "config.json").write_text(json.dumps(settings))
    expected = load_subject(locate(f"local-dir:{folder}", None)).protocol
    assert expected.name == {"center": "center-160/160+bicubic", "squash": "resize-160+bicubic"}[mode]
    for to, name in (("hub", "again"), ("safetensors", "net.safetensors")):
        place = tmp_path / name
        words = ["timm/test_resnet", "--weights", f"local-dir:{folder}", "--to", to, "--output", str(place)]
        assert main(["models", "export", *words]) == 0
        text = f"local-dir:{place}" if to == "hub" else str(place)
        assert load_subject(locate(text, None)).protocol == expected
    found = initial.resolved(beginning(f"local-dir:{folder}"))[0].input
    assert (found.train_size, found.interpolation, found.eval_interpolation) == (160, "bilinear", "bicubic")


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["ViTForImageClassification"], "model_type": "vit"},
        {"architecture": "nothing_known", "pretrained_cfg": {}},
        {"architecture": "test_resnet", "pretrained_cfg": {"mien": 1}},
        {"architecture": "test_resnet", "pretrained_cfg": {}, "model_args": {"depth": 1}},
        ["test_resnet"],
    ],
    ids=["transformers", "unknown", "damaged", "strange arguments", "a list"],
)
def test_a_folder_that_timm_cannot_read_is_refused(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnusableWeightsError, match=r"weights: timm has no weights of 'local-dir:.*' within reach"):
        load_subject(locate(f"local-dir:{folder}", None))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("local-dir:", "WEIGHTS: local-dir: is no folder with a config.json of timm's"),
        ("local-dir:nowhere", "WEIGHTS: nowhere is no folder with a config.json"),
        ("hf-hub:net", "WEIGHTS: hf-hub:net; name hf-hub:OWNER/NAME"),
        ("hf-hub:a b/../c", "name hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"),
    ],
)
def test_a_name_that_is_none_is_refused_at_once(text: str, reason: str) -> None:
    with pytest.raises(InvalidConfigError, match=re.escape(reason)):
        locate(text, None)


def test_a_folder_s_bare_name_is_answered_with_the_way_to_name_it(folder: Path) -> None:
    with pytest.raises(InvalidConfigError, match=f"{folder} is no run directory; did you mean local-dir:{folder}"):
        locate(str(folder), None)


@pytest.mark.parametrize(("mode", "share"), [("center", 0.9), ("squash", 1.0)])
def test_weights_of_timm_are_exported_with_their_own_way_to_resize(mode: str, share: float, tmp_path: Path) -> None:
    images = {"input_size": [3, 96, 96], "interpolation": "bicubic", "crop_mode": mode, "crop_pct": share}
    said = {"pretrained_cfg": images}
    save_for_hf(network(), str(tmp_path / "hub"), model_config=said, safe_serialization=True)
    command = ["models", "export", "timm/test_resnet", "--weights", f"local-dir:{tmp_path / 'hub'}", "--to", "hub"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    networks = [timm.create_model(f"local-dir:{tmp_path / name}", pretrained=True) for name in ("hub", "out")]
    settings = [resolve_model_data_config(one, use_test_size=True) for one in networks]
    before, after = (str(create_transform(**one)) for one in settings)
    assert after == before
