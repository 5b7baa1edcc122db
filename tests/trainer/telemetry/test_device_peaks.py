import pytest

from trainer.recipe.config import Precision
from trainer.telemetry.device import peak_tflops


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A10", "fp16", 125),
        ("NVIDIA A10G", "fp16", None),
        ("Tesla V100-SXM2-16GB", "fp16", 125),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("NVIDIA GeForce RTX 4090", "fp32", 82.6),
        ("NVIDIA L40S", "bf16", 362),
        ("", "bf16", None),
    ],
)
def test_a_device_is_known_by_its_name(device: str, precision: Precision, peak: float | None) -> None:
    assert peak_tflops(device, precision) == peak
