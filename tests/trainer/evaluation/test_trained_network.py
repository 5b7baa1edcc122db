from pathlib import Path

import pytest
import torch

from models import class_names, export, factory
from models.config import ModelConfig
from models.weights import Origin
from trainer.evaluation.protocol import parse
from trainer.evaluation.trained_network import UnusableWeightsError, description, load_subject
from trainer.initial import fingerprint
from trainer.sources import Source, locate

CONFIG = ModelConfig(name="resnet20", num_classes=1000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    export.export(factory.build(CONFIG), CONFIG, tmp_path / "net.safetensors", "safetensors", 32)
    return tmp_path / "net.safetensors"


def test_a_file_that_names_its_network_needs_no_recipe(file: Path) -> None:
    found = load_subject(locate(str(file), None))
    assert (found.model, found.num_classes, found.precision, found.source.which) == ("resnet20", 1000, "fp32", "raw")
    assert found.protocol == parse("center-32/32")
    assert (found.classes, found.guessed) == (class_names.wnids(), True)  # a thousand are taken for ImageNet's
    assert not found.network.training


def test_a_file_says_what_its_classes_are_and_which_images_it_takes(tmp_path: Path) -> None:
    config = ModelConfig(name="resnet20", num_classes=3)
    settings = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "eval_resize": 40, "eval_crop": 36, "later": "unknown"}
    origin = Origin(model=config, classes=("2", "10", "\udce4"), input=settings)
    export.export(factory.build(config), config, tmp_path / "net.safetensors", "safetensors", 32, origin)
    found = load_subject(locate(str(tmp_path / "net.safetensors"), None))
    assert (found.classes, found.guessed, found.protocol) == (origin.classes, False, parse("center-36/40"))
    assert (found.input.mean, found.input.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_settings_out_of_range_in_a_file_of_weights_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(name="resnet20", num_classes=3)
    origin = Origin(model=config, input={"eval_crop": "wide", "std": [0, 0, 0]})
    export.export(factory.build(config), config, tmp_path / "net.safetensors", "safetensors", 32, origin)
    with pytest.raises(UnusableWeightsError, match=r"net\.safetensors: damaged settings: eval_crop: 'wide'"):
        load_subject(locate(str(tmp_path / "net.safetensors"), None))


def test_weights_have_one_fingerprint_in_every_format(file: Path, tmp_path: Path) -> None:
    network = load_subject(locate(str(file), None)).network
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    (tmp_path / "recipe_of_it.yaml").write_text("{model: {name: resnet20, num_classes: 1000}, precision: bf16}")
    other = load_subject(locate(str(tmp_path / "net.pth"), str(tmp_path / "recipe_of_it.yaml")))
    assert other.weights_sha256 == fingerprint(network.state_dict())
    assert (other.precision, other.protocol) == ("bf16", parse("center-224/256"))
    with torch.no_grad():
        network.get_parameter("fc.bias")[0] += 1e-6
    assert other.weights_sha256 != fingerprint(network.state_dict())


def test_of_another_trainer_s_file_the_average_is_evaluated_or_what_was_asked_for(file: Path, tmp_path: Path) -> None:
    raw = load_subject(locate(str(file), None)).network.state_dict()
    torch.save({"state_dict": raw, "state_dict_ema": {name: value + 1 for name, value in raw.items()}}, tmp_path / "w")
    recipe = tmp_path / "recipe.yml"
    recipe.write_text("{model: {name: resnet20, num_classes: 1000}}")
    for entry, which, bias in ((None, "ema", raw["fc.bias"] + 1), ("raw", "raw", raw["fc.bias"])):
        found = load_subject(locate(str(tmp_path / "w"), str(recipe), entry))
        assert torch.equal(found.network.get_parameter("fc.bias"), bias)
        assert description(found)["weights"] == which


def test_what_is_said_of_it_names_the_weights_as_the_user_did(file: Path) -> None:
    found = description(load_subject(locate(str(file), None)))
    assert (found["weights_of"], found["model"], found["weights"]) == (str(file), "resnet20", "raw")
    assert "recipe" not in found


def test_weights_without_a_name_or_of_another_network_are_refused(file: Path, tmp_path: Path) -> None:
    torch.save(factory.build(CONFIG).state_dict(), tmp_path / "net.pth")
    with pytest.raises(UnusableWeightsError, match="does not say which network it is of; name it by --recipe"):
        load_subject(locate(str(tmp_path / "net.pth"), None))
    with pytest.raises(UnusableWeightsError, match="holds another network: resnet20, not resnet50"):
        load_subject(locate(str(file), "resnet50"))
    with pytest.raises(UnusableWeightsError, match="they do not fit resnet50; nothing was loaded"):
        load_subject(locate(str(tmp_path / "net.pth"), "resnet50"))
    with pytest.raises(UnusableWeightsError, match=r"torchvision has no weights of 'resnet18\.NONE' within reach"):
        load_subject(Source(text="torchvision/resnet18.NONE", kind="package"))
