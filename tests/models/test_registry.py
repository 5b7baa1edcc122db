import dataclasses

import pytest
import torch

from models import factory, registry
from models.config import ModelConfig

# What a caller sees of each bad config at 299 px: the path it starts with, and a word that helps.
BAD = [
    ({"name": "resnet5O"}, "model.name: 'resnet5O' is unknown; did you mean resnet50 (or", ""),
    ({"name": "inception3"}, "model.name: 'inception3' is unknown; did you mean inception_v3?", ""),
    ({"name": "efficientnet_b0"}, "model.name: ", "did you mean timm/efficientnet_b0"),
    ({"name": "timm/resnet5O"}, "model.name: ", "did you mean timm/resnet50"),
    ({"name": "torchvision/resnet5O"}, "model.name: ", "did you mean torchvision/resnet50"),
    ({"name": "keras/resnet50"}, "model.name: ", "did you mean"),
    ({"name": "zzz"}, "model.name: ", "provenet models list"),
    ({"name": "inception_v3", "ghost": 2}, "model.ghost: inception_v3 has no such option; it takes aux_logits", ""),
    ({"name": "plain18", "zero_init_residual": True}, "model.zero_init_residual: plain18 has no such", "takes none"),
    ({"name": "resnet18", "ghost": 2}, "model.ghost: resnet18 has no such option", "drop_path"),
    ({"name": "resnet20", "deep_stem": True}, "model.deep_stem: resnet20 has no such option", ""),
    ({"name": "resnet50_v1", "blur_pool": "after"}, "model.blur_pool: resnet50_v1 has no such option", ""),
    ({"name": "timm/resnet50", "shortcut": "A"}, "model.shortcut: timm/resnet50 has no such option", "drop_path"),
    ({"name": "resnet50", "avg_down": True, "shortcut": "A"}, "model.avg_down: ", "model.shortcut"),
    ({"name": "torchvision/resnet50", "in_channels": 1}, "model.in_channels: 1, but", "take 3"),
]
SIZES = [
    ("inception_v3", None, 74, True, "input.train_size: 74 is too small for inception_v3, which needs at least 75"),
    ("inception_v3", None, 298, True, "model.aux_logits false it needs 75"),
    ("inception_v3", None, 298, False, ""),
    ("inception_v3", False, 75, True, ""),
    ("inception_v3", None, 299, True, ""),
    ("resnet50", None, 31, True, "needs at least 32"),
    ("resnet20", None, 4, True, ""),
    ("timm/resnet50", None, 1, True, ""),
    ("timm/resnet50.a1_in1k", None, 224, True, ""),
]


@pytest.mark.parametrize(("settings", "start", "hint"), BAD)
def test_a_bad_config_is_named_by_path_and_answered_with_a_suggestion(settings: dict, start: str, hint: str) -> None:
    (problem,) = registry.problems(ModelConfig(**settings), 299)
    assert problem.startswith(start)
    assert hint in problem


def test_every_problem_is_reported_at_once() -> None:
    config = ModelConfig(name="inception_v3", ghost=2, shortcut="B")
    paths = [problem.split(":")[0] for problem in registry.problems(config, 32)]
    assert paths == ["model.shortcut", "model.ghost", "input.train_size"]


@pytest.mark.parametrize(("name", "aux_logits", "size", "training", "expected"), SIZES)
def test_a_size_is_held_against_what_the_network_needs(
    name: str, aux_logits: bool | None, size: int, training: bool, expected: str
) -> None:
    found = registry.problems(ModelConfig(name=name, aux_logits=aux_logits), size, training=training)
    assert len(found) == (1 if expected else 0)
    assert expected in "".join(found)


def test_the_size_is_named_by_the_caller_s_path() -> None:
    (problem,) = registry.problems(ModelConfig(), 8, "input.eval_crop")
    assert problem.startswith("input.eval_crop: 8 ")


@pytest.mark.parametrize("name", registry.names())
def test_a_network_is_sound_at_its_paper_s_size_and_takes_each_of_its_options(name: str) -> None:
    row = registry.entry(name)
    values = {"blur_pool": "before", "shortcut": "B", "drop_path": 0.1, "dropout": 0.1, "ghost": 4}
    config = ModelConfig(name=name, **{option: values.get(option, True) for option in row.options})
    assert registry.problems(config, row.image_size) == []
    with torch.device("meta"):
        factory.build(config)


@pytest.mark.parametrize(
    ("name", "hint"), [("ghostnet", "did you mean ghostnet_050"), ("timm/resnet50", "is a network of timm")]
)
def test_what_is_not_one_of_ours_has_no_entry(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        registry.entry(name)


def test_a_counterpart_is_a_network_of_a_package_or_made_from_its_parts() -> None:
    assert registry.counterpart("resnet50") == "torchvision/resnet50"
    assert registry.counterpart("ghostnet_100") == "timm/ghostnet_100"
    assert registry.counterpart("resnet50_v1") == "from parts: stride_in_1x1"


def test_a_pattern_finds_names() -> None:
    assert registry.matching("ghostnet_*") == ["ghostnet_050", "ghostnet_100", "ghostnet_130"]
    assert registry.matching("29_") == ["resnext29_8x64d", "resnext29_16x64d"]
    with pytest.raises(ValueError, match="did you mean resnet50"):
        registry.matching("resnet5O")


def test_options_left_at_none_are_the_network_s_own() -> None:
    assert registry.options(ModelConfig(zero_init_residual=False)) == {"zero_init_residual": False}
    assert dataclasses.asdict(ModelConfig())["ghost"] is None
