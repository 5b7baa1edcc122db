import subprocess
import sys

import pytest

from trainer.evaluation.protocol import parse
from trainer.evidence.targets import TARGETS, Target
from trainer.recipe import recipes

ROWS = [(name, target) for name, targets in TARGETS.items() for target in targets]


def test_every_recipe_but_those_for_own_images_has_an_aim() -> None:
    assert set(TARGETS) == set(recipes.names()) - {"demo", "finetune", "linear_probe"}
    assert all(TARGETS.values())


@pytest.mark.parametrize(("name", "target"), ROWS, ids=lambda part: getattr(part, "by", part))
def test_a_figure_is_complete_and_in_range(name: str, target: Target) -> None:
    assert parse(target.protocol).name == target.protocol
    assert 50 < target.top1 < 100
    assert target.top5 is None or target.top1 < target.top5 < 100
    assert target.spread is None or 0 < target.spread < 0.5
    assert (target.data == "cifar10") == name.startswith("cifar_")
    assert target.source
    assert target.epochs > 0


@pytest.mark.parametrize(("name", "target"), ROWS, ids=lambda part: getattr(part, "by", part))
def test_a_tolerance_is_three_deviations_and_at_least_0_3(name: str, target: Target) -> None:
    deviation = target.spread or (0.16 if target.data == "cifar10" else 0)
    read_off = 0.5 if name.startswith("cifar_plain") else 0  # figures 6's curves
    assert target.tolerance == pytest.approx(max(0.3, 3 * deviation) + read_off)


def test_figures_of_a_recipe_are_told_apart() -> None:
    for name, targets in TARGETS.items():
        known = {(target.by, target.protocol, target.epochs, target.source) for target in targets}
        assert len(known) == len(targets), name


@pytest.mark.parametrize(
    ("name", "top1", "protocol"),
    [
        ("resnet50", 76.13, "center-224/256"),
        ("plain34", 71.46, "ten-crop-224/256"),  # 1512.03385, Table 2: 28.54 % error
        ("resnext50_32x4d", 77.8, "center-224/256"),  # 1611.05431, Table 3: 22.2 % error
        ("resnet50_a1", 80.4, "center-224/235+bicubic"),
        ("resnet50_fast16", 73.8, "center-256/292+flip"),
        ("cifar_resnet110", 93.39, "center-32/32"),  # 1512.03385, Table 6: 6.61 +- 0.16
    ],
)
def test_aims_are_the_sources_figures(name: str, top1: float, protocol: str) -> None:
    aim = TARGETS[name][0]
    assert (aim.top1, aim.protocol) == (top1, protocol)


def test_deeper_is_better_but_for_plain_networks() -> None:
    def aims(*names: str) -> list[float]:
        return [TARGETS[name][0].top1 for name in names]

    for rising in (
        aims("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        aims("resnet50_a3", "resnet50_a2", "resnet50_a1"),
        aims("resnet50_fast16", "resnet50_fast32", "resnet50_fast88"),
        aims("cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "cifar_resnet56", "cifar_resnet110"),
        aims("plain34", "plain18"),
        aims("cifar_plain56", "cifar_plain20"),
    ):
        assert rising == sorted(rising)


def test_the_table_loads_nothing_heavy() -> None:
    code = "import sys, trainer.evidence.targets; assert not {'torch', 'numpy', 'yaml'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
