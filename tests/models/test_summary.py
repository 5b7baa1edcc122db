import csv
from pathlib import Path

import pytest
import torch

from models import summary
from models.config import ModelConfig
from models.trace import skeleton

REFERENCE = Path(__file__).parent / "reference"
# As torchsummary prints them for 64 images: file, parameters, then MB of input, passes, parameters and all. It counts
# outputs in 32 bits where numpy's integers have so many: the 2.30 billion of ResNet-50, which take 17567.99 MB, wrap.
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
    wrapped = abs((result.outputs + 2**31) % 2**32 - 2**31)
    printed = [result.input_mb, 2 * wrapped * 4 / 2**20, result.parameters_mb]
    assert [f"{size:.2f}" for size in (*printed, sum(printed))] == sizes
    true = [result.input_mb, result.passes_mb, result.parameters_mb]
    names = ("Input size", "Forward/backward pass size", "Params size", "Estimated Total Size")
    for name, size in zip(names, (*true, sum(true)), strict=True):
        assert f"{name} (MB): {size:.2f}" in lines


def test_the_passes_of_resnet50_take_what_torchsummary_overflows_at() -> None:
    assert f"{summarise('resnet50_v1').passes_mb:.2f}" == "17567.99"


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
