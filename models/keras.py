"""A network of the ResNet family as Keras prints it: channels last, a grouped convolution in one row.

The rows are those of a Keras summary of ResNeXt-50 whose grouped convolutions were put together by hand. They differ
from the network's own layers in what Keras counts and shows:

- the input and the paddings of the stem are rows of their own, an addition is one, the global average is not shown;
- layers are ordered by their distance from the input: a projection comes at the end of the branch it is added to;
- the stem's convolution has a bias, Keras's default, which our network lacks;
- BatchNorm counts its running statistics as parameters;
- a grouped convolution is one small convolution a group, whose weights are counted there and not in its own row.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from models.blocks import PlainBlock
from models.summary import Summary
from models.trace import Row

GROUPED = "GroupedConv2D (concatenate)"
# Kind of a row -> Keras's stem for the names of such layers.
NAMES = {
    "InputLayer": "input",
    "ZeroPadding2D": "zero_padding2d",
    "Conv2D": "conv2d",
    GROUPED: "concatenate",
    "BatchNormalization": "batch_normalization",
    "ReLU": "re_lu",
    "MaxPooling2D": "max_pooling2d",
    "Add": "add",
    "Dense": "dense",
}
KINDS = {"BatchNorm2d": "BatchNormalization", "ReLU": "ReLU", "MaxPool2d": "MaxPooling2D", "Linear": "Dense"}


@dataclass(frozen=True, slots=True)
class KerasRow:
    """One layer as `keras.Model.summary` shows it."""

    kind: str
    output_shape: tuple[int, ...]
    """(H, W, C), or (classes,); without the batch."""

    parameters: int


def as_keras(summary: Summary) -> str:
    """Keras's page: a line a layer, names counted from 1, then the totals and what they are made of.

    Raises:
        ValueError: Keras has no name for one of the layers.
    """
    line = "{:<56} {:>24} {:>12}"
    seen = Counter[str]()
    lines = [line.format("Layer (type)", "Output Shape", "Param #")]
    rows = keras_rows(summary)
    for row in rows:
        seen[row.kind] += 1
        name = f"{NAMES[row.kind]}_{seen[row.kind]} ({row.kind})"
        lines.append(line.format(name, str((None, *row.output_shape)), f"{row.parameters:,}"))
    rule = "=" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:], rule, *_totals(summary, rows), ""])


def keras_rows(summary: Summary) -> list[KerasRow]:
    """The layers in Keras's order and counts.

    Raises:
        ValueError: As `as_keras`.
    """
    _refuse_others(summary)
    _, channels, height, width = summary.input_shape
    rows = [KerasRow("InputLayer", (height, width, channels), 0)]
    for path, group in groupby(summary.rows, key=lambda row: _place(row.path)):
        members = list(group)
        if path.startswith("layer"):
            rows += _block(members)
        elif path != "avgpool":
            rows += _outside_blocks(members[0], rows[-1])
    return rows


def _refuse_others(summary: Summary) -> None:
    strangers = [row for row in summary.rows if isinstance(row.module, PlainBlock) or row.path.startswith("conv1.")]
    if strangers:
        raise ValueError(
            f"format: keras cannot name {strangers[0].path} ({strangers[0].kind}): it knows ResNet and ResNeXt "
            "with their first stem; use table or csv"
        )


def grouped_weights(summary: Summary) -> int:
    """Weights of all grouped convolutions, which their rows leave out."""
    return sum(row.parameters for row in summary.rows if _groups(row) > 1)


def _place(path: str) -> str:
    """What a row belongs to: a block ("layer1.0"), or the layer itself."""
    return ".".join(path.split(".")[:2]) if path.startswith("layer") else path


def _outside_blocks(row: Row, before: KerasRow) -> Iterator[KerasRow]:
    layer = _layer(row)
    padding = getattr(row.module, "padding", 0)
    pad = padding[0] if isinstance(padding, tuple) else padding
    if pad:
        height, width, channels = before.output_shape
        yield KerasRow("ZeroPadding2D", (height + 2 * pad, width + 2 * pad, channels), 0)
    bias = layer.output_shape[-1] if layer.kind == "Conv2D" else 0
    yield KerasRow(layer.kind, layer.output_shape, layer.parameters + bias)


def _block(rows: list[Row]) -> list[KerasRow]:
    """One residual block; its own row comes last, its closing ReLU before that."""
    side = [_layer(row) for row in rows if ".downsample." in row.path]
    *main, convolution, norm, relu = [_layer(row) for row in rows[:-1] if ".downsample." not in row.path]
    ends = [convolution, norm]
    if side:
        ends = [convolution, side[0], norm, side[1]]
    return [*main, *ends, KerasRow("Add", relu.output_shape, 0), relu]


def _layer(row: Row) -> KerasRow:
    _, *channels_first = row.output_shape
    shape = tuple(channels_first[1:] + channels_first[:1])  # (C, H, W) -> (H, W, C)
    if isinstance(row.module, nn.Conv2d):
        grouped = _groups(row) > 1
        return KerasRow(GROUPED if grouped else "Conv2D", shape, 0 if grouped else row.parameters)
    if row.kind not in KINDS:
        raise ValueError(f"format: keras cannot name {row.path} ({row.kind}); use table or csv")
    statistics = 2 if isinstance(row.module, nn.BatchNorm2d) else 1
    return KerasRow(KINDS[row.kind], shape, row.parameters * statistics)


def _groups(row: Row) -> int:
    return row.module.groups if isinstance(row.module, nn.Conv2d) else 1


def _totals(summary: Summary, rows: list[KerasRow]) -> list[str]:
    grouped = grouped_weights(summary)
    total = sum(row.parameters for row in rows) + grouped
    statistics = sum(row.parameters for row in rows if row.kind == "BatchNormalization") // 2
    bias = total - statistics - summary.parameters
    return [
        f"Total params: {total:,}",
        f"Trainable params: {total - statistics:,}",
        f"Non-trainable params: {statistics:,}",
        f"= {summary.parameters:,} of our network + {bias} of the stem's bias + {statistics:,} running statistics,",
        f"{grouped:,} of them in grouped convolutions, which Keras counts on their small convolutions",
    ]
