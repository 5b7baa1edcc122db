import csv
from pathlib import Path

import pytest
import torch

from models import summary
from models.config import ModelConfig
from models.trace import skeleton

REFERENCE = Path(__file__).parent / "reference"
# As torchsummary prints them for 64 images: file, parameters, then MB of input, passes, parameters and all.
TOTALS = {
    "resnet18": ("resnet18_torchsummary.csv", 11_689_512, "36.75", "4018.74", "44.59", "4100.08"),
    "resnet50_v1": ("resnet50_v1_torchsummary.csv", 25_557_032, "36.75", "15200.01", "97.49", "15334.25"),
}


def summarise(name: str) -> summary.Summary:
    return summary.summarise(skeleton(ModelConfig(name=name)), (64, 3, 224, 224))


@pytest.mark.parametrize("name", TOTALS)
def test_every_row_of_torchsummary_s_table_is_reproduced(name: str) -> None:
    file = REFERENCE / TOTALS[name][0]
    assert summary.as_csv(summarise(name)).splitlines() == file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", TOTALS)
def test_the_totals_agree_to_the_digit(name: str) -> None:
    _, parameters, *sizes = TOTALS[name]
    result = summarise(name)
    assert result.parameters == result.trainable == parameters
    lines = summary.as_table(result).splitlines()
    names = ("Input size", "Forward/backward pass size", "Params size", "Estimated Total Size")
    assert all(f"{name} (MB): {size}" in lines for name, size in zip(names, sizes, strict=True))


def test_a_count_that_overflows_in_torchsummary_is_told_with_the_true_size() -> None:
    result = summarise("resnet50_v1")
    assert result.outputs > 2**31
    # 2 ** 32 numbers are 32768 MB: the document's figure is the rest
    assert f"{32768 - result.passes_mb:.2f}" == f"{summary.torchsummary_passes_mb(result):.2f}" == "15200.01"
    assert "in truth the passes take 17567.99 MB, in all 17702.23" in summary.as_table(result)
    assert "in truth" not in summary.as_table(summarise("resnet18"))


@pytest.mark.parametrize("name", TOTALS)
def test_the_page_shows_every_row(name: str) -> None:
    lines = summary.as_table(summarise(name)).splitlines()
    with (REFERENCE / TOTALS[name][0]).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = [line.split() for line in lines[3 : 3 + len(rows)]]
    expected = [f"{row['layer']}-{row['index']}" for row in rows]
    assert [cells[0] for cells in shown] == expected
    assert [cells[-2].replace(",", "") for cells in shown] == [row["parameters"] for row in rows]


def test_frozen_parameters_are_not_trainable() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Conv2d(2, 1, 1))
    network[0].requires_grad_(False)
    result = summary.summarise(network, (1, 1, 2, 2))
    assert (result.parameters, result.trainable) == (4 + 3, 3)
