"""Weights at another image size, against what timm makes of the same file."""

import logging
from pathlib import Path

import pytest
import timm
import torch

from models import factory, fitting
from models.config import ModelConfig
from models.trace import skeleton


@pytest.mark.filterwarnings("ignore:::timm")  # of its interpolation of tables of biases
@pytest.mark.parametrize(
    ("name", "before", "after", "notes"),
    [
        ("vit_tiny_patch16_224", 64, 32, ["pos_embed from 4x4 to 2x2"]),
        (
            "swin_tiny_patch4_window7_224",
            224,
            64,
            [f"relative_position_bias_table from 13x13 to {size}x{size}" for size in (7, 3)],
        ),
    ],
)
def test_position_embeddings_are_resampled_as_timm_does(
    name: str, before: int, after: int, notes: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    trained = timm.create_model(name, num_classes=5, img_size=before).state_dict()
    torch.save(trained, tmp_path / "w.pth")
    config = ModelConfig(name=f"timm/{name}", num_classes=5, img_size=after)
    network = factory.build(config)
    state = torch.get_rng_state()
    with caplog.at_level(logging.INFO, "models"):
        assert not fitting.fit(network, trained, config)
    assert caplog.messages == [f"weights: position embeddings resampled: {', '.join(notes)}"]
    assert torch.equal(torch.get_rng_state(), state)
    overlay = {"file": str(tmp_path / "w.pth"), "num_classes": 5}
    theirs = timm.create_model(name, pretrained=True, num_classes=5, img_size=after, pretrained_cfg_overlay=overlay)
    images = torch.randn(2, 3, after, after)
    assert torch.equal(network.eval()(images), theirs.eval()(images))


def test_a_new_classifier_goes_with_another_size() -> None:
    trained = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64).state_dict()
    config = ModelConfig(name="timm/vit_tiny_patch16_224", num_classes=3, img_size=32)
    state, is_new, _ = fitting.fitted(factory.build(config), trained, config, None)
    assert is_new
    assert state["head.weight"].shape == (3, 192)
    assert torch.equal(state["cls_token"], trained["cls_token"])
    headless = {name: value for name, value in trained.items() if not name.startswith("head.")}
    assert fitting.fitted(factory.build(config), headless, config, None)[1]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"patch_embed.proj.weight": (192, 1, 16, 16)}, r"patch_embed.proj: weight is \[192, 1, 16, 16\], not"),
        ({"blocks.0.attn.qkv.weight": (576, 190)}, r"blocks.0.attn.qkv: weight is \[576, 190\], not \[576, 192\]"),
        ({"norm.weight": None}, "norm: weight is missing"),
    ],
)
def test_other_networks_weights_are_refused_at_another_size_too(
    changed: dict[str, tuple[int, ...] | None], reason: str
) -> None:
    state = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64).state_dict()
    for name, shape in changed.items():
        del state[name]
        state |= {name: torch.zeros(shape)} if shape else {}
    config = ModelConfig(name="timm/vit_tiny_patch16_224", num_classes=5, img_size=32)
    with pytest.raises(ValueError, match=reason):
        fitting.fitted(skeleton(config), state, config)
