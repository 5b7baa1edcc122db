from typing import Any

import pytest

from data.plan.config import InputConfig
from launch.plan import speeds
from launch.plan.config import GpuName, PlanConfig
from launch.plan.network_size import Network
from models.config import ModelConfig
from trainer.recipe.config import Recipe

# FLOPs: torchvision's documentation of its weights, in billions
RESNET50, RESNET101, RESNEXT101_32X4D, GHOSTNET = 4.089e9, 7.801e9, 7.97e9, 0.141e9


def rate(name: str, flops: float, gpu: GpuName = "a100", **recipe: Any) -> tuple[float, str]:
    network = Network(parameters=1, statistics=0, state_bytes=0, multiply_adds=int(flops), saved=0)
    return speeds.rate(gpu, Recipe(model=ModelConfig(name=name), **recipe), network)


@pytest.mark.parametrize(
    ("gpu", "precision", "expected"),
    [
        ("a100", "bf16", 2470),
        ("a100", "tf32", 938),
        ("v100", "fp32", 367),
        ("p100", "fp32", 218),
        ("rtx3090", "fp16", 1218),
        ("h100", "bf16", 4837),
        ("h200", "bf16", 5368),
        ("l40s", "fp16", 1476),
        ("rtx4090", "bf16", 1956),
    ],
)
def test_a_resnet50_trains_as_published(gpu: GpuName, precision: str, expected: float) -> None:
    found, words = rate("resnet50", RESNET50, gpu, precision=precision)
    assert found == pytest.approx(expected, rel=1e-3)
    assert speeds.GPUS[gpu].source in words
    assert ("estimated" in words) == (gpu in {"h100", "h200", "l40s", "rtx4090"})


def test_another_network_goes_by_timm_s_rates_and_by_flops() -> None:
    assert rate("resnet18", 1.814e9)[0] == pytest.approx(2470 * 3482 / 1218)
    # 11 % under DeepLearningExamples' 1211 images/s of an A100 (PyTorch/Classification/ConvNets/resnext101-32x4d)
    found, words = rate("resnext101_32x4d", RESNEXT101_32X4D)
    assert found == pytest.approx(2470 * 1001 / 1218 * 4.230 / 7.97)
    assert found == pytest.approx(1211, rel=0.12)
    assert "divided by 1.88, its FLOPs over resnext50_32x4d's" in words


# images/s in the same file of timm's, of an RTX 3090, and multiply-adds; none of them is used in the prediction
@pytest.mark.parametrize(
    ("name", "flops", "published", "error"),
    [
        ("timm/vit_base_patch16_224", 17.564e9, 393, -0.30),
        ("timm/swin_base_patch4_window7_224", 15.431e9, 281, -0.33),
        ("timm/convnext_base", 15.355e9, 339, -0.30),
    ],
)
def test_networks_of_four_times_the_flops_come_out_a_third_too_slow(
    name: str, flops: float, published: float, error: float
) -> None:
    assert rate(name, flops, "rtx3090")[0] / published - 1 == pytest.approx(error, abs=0.01)


def test_flops_alone_would_be_wrong_for_ghostnet() -> None:
    found, _ = rate("ghostnet_100", GHOSTNET, "rtx3090")
    assert found == pytest.approx(2130)
    assert 16 * found < 1218 * RESNET50 / GHOSTNET


def test_smaller_images_cost_as_many_flops_and_are_called_a_guess() -> None:
    found, words = rate("resnet50", RESNET50 / 4, input=InputConfig(train_size=112))
    assert found == pytest.approx(4 * 2470)
    assert "a guess: --measured or --images-per-s" in words


def test_a_smaller_micro_batch_than_the_source_s_is_said_to_be_slower() -> None:
    assert "at 256 images a pass, and 32 are slower" in rate("resnet50", RESNET50, micro_batch=32)[1]
    assert "slower" not in rate("resnet50", RESNET50, micro_batch=256)[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet101", "resnet101"),
        ("torchvision/resnet18", "resnet18"),
        ("resnext101_64x4d", "resnext50_32x4d"),
        ("ghostnet_050", "ghostnet_050"),
        ("timm/ghostnetv2_100", "ghostnet_100"),
        ("resnet152", "resnet50"),
        ("timm/vit_base_patch16_224", "vit_small_patch16_224"),
        ("timm/deit3_base_patch16_224", "deit3_small_patch16_224"),
        ("timm/deit_tiny_patch16_224", "deit_small_patch16_224"),
    ],
)
def test_the_most_alike_network_with_a_published_rate(name: str, expected: str) -> None:
    assert speeds.sibling(name) == expected


def test_flags_go_over_what_is_published() -> None:
    network = Network(parameters=1, statistics=0, state_bytes=0, multiply_adds=int(RESNET50), saved=0)
    config = PlanConfig(images_per_s=300.0, loader_images_per_s=50.0, nvlink_gb_s=7.0)
    found, sources = speeds.published(config, Recipe(), network)
    assert (found.images_per_s, found.core_images_per_s, found.link_gb_s) == (300.0, 50.0, 7.0)
    assert sources[:2] == ["one GPU: 300 images/s: --images-per-s", "one CPU core: 50 images/s: --loader-images-per-s"]


def test_a_precision_without_a_published_rate_is_refused() -> None:
    expected = "--gpu v100: no published rate in bf16; use --precision fp16 or fp32, or give --images-per-s"
    assert speeds.published_problems(PlanConfig(gpu="v100"), Recipe()) == [expected]
    assert speeds.published_problems(PlanConfig(gpu="v100", images_per_s=900.0), Recipe()) == []
