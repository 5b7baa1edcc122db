import ast
import csv
from pathlib import Path

import pytest

from models import keras, summary
from models.config import ModelConfig
from models.trace import skeleton

TABLE = Path(__file__).parent / "reference" / "resnext50_keras_summary.csv"


def summarise(name: str) -> summary.Summary:
    return summary.summarise(skeleton(ModelConfig(name=name)), (1, 3, 224, 224))


def reference() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_resnext50_table_is_reproduced() -> None:
    rows = keras.keras_rows(summarise("resnext50_32x4d"))
    expected = [
        keras.KerasRow(row["kind"], tuple(ast.literal_eval(row["output_shape_hwc"])), int(row["parameters"]))
        for row in reference()
    ]
    assert rows == expected


def test_the_totals_are_those_of_the_document() -> None:
    page = keras.as_keras(summarise("resnext50_32x4d"))
    assert "Total params: 25,097,192\n" in page
    assert "= 25,028,904 of our network + 64 of the stem's bias + 68,224 running statistics" in page
    assert keras.grouped_weights(summarise("resnext50_32x4d")) == 1_414_656


def test_the_page_names_layers_as_the_table_does_counters_aside() -> None:
    lines = keras.as_keras(summarise("resnext50_32x4d")).splitlines()[2:]
    shown = [line.split(" ")[0].rpartition("_")[0] for line in lines[: len(reference())]]
    assert shown == [row["layer"].rpartition("_")[0] for row in reference()]


def test_a_network_without_projections_beside_its_blocks_has_words_too() -> None:
    rows = keras.keras_rows(summarise("resnet18"))
    assert [row.kind for row in rows].count("Add") == 8
    assert sum(row.parameters for row in rows) == 11_689_512 + 64 + 9_600  # + stem's bias + running statistics


@pytest.mark.parametrize("name", ["inception_v3", "ghostnet_050", "resnet20"])
def test_other_families_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="format: keras cannot name"):
        keras.as_keras(summarise(name))
