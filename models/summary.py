"""A network layer by layer, in the words of torchsummary."""

import csv
import io
import math
from dataclasses import dataclass

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.trace import Row, trace

MIB = 1024**2
FLOAT32 = 4  # bytes: torchsummary counts every number so


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Rows of one pass over a batch, and what they add up to."""

    rows: list[Row]
    input_shape: tuple[int, ...]
    parameters: int
    trainable: int
    operations: int
    """Floating-point operations of the pass as torch counts them: two for a multiply-add."""

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image."""
        return self.operations // 2 // self.input_shape[0]

    @property
    def outside(self) -> tuple[int, int]:
        """Parameters, and multiply-adds of one image, that belong to no row: attention in a package's network."""
        listed = {id(row.module): row.parameters for row in self.rows}
        multiply_adds = sum(row.multiply_adds for row in self.rows) // self.input_shape[0]
        return self.parameters - sum(listed.values()), self.multiply_adds - multiply_adds

    @property
    def input_mb(self) -> float:
        return math.prod(self.input_shape) * FLOAT32 / MIB

    @property
    def outputs(self) -> int:
        """Numbers that all layers put out for the batch."""
        return sum(math.prod(row.output_shape) for row in self.rows)

    @property
    def passes_mb(self) -> float:
        """Every output once for the forward pass, once for its gradient."""
        return 2 * self.outputs * FLOAT32 / MIB

    @property
    def parameters_mb(self) -> float:
        return self.parameters * FLOAT32 / MIB


def summarise(network: nn.Module, input_shape: tuple[int, int, int, int]) -> Summary:
    """Traces a network over a batch of (N, C, H, W); on the meta device nothing is computed."""
    parameters = list(network.parameters())
    images = parameters[0].new_zeros(input_shape)
    with FlopCounterMode(display=False) as counter:
        rows = trace(network, images)
    return Summary(
        rows=rows,
        operations=counter.get_total_flops(),
        input_shape=input_shape,
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


def as_csv(summary: Summary) -> str:
    """Columns of torchsummary: index, layer, output_shape, parameters."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "layer", "output_shape", "parameters"])
    for index, row in enumerate(summary.rows, start=1):
        writer.writerow([index, row.kind, list(row.output_shape), row.parameters])
    return text.getvalue()


def as_table(summary: Summary) -> str:
    """The page of torchsummary, with a column of multiply-adds for one image."""
    batch = summary.input_shape[0]
    line = "{:>28} {:>22} {:>14} {:>16}"
    head = line.format("Layer (type)", "Output Shape", "Param #", "Multiply-adds")
    rows = [
        line.format(
            f"{row.kind}-{index}",
            str(list(row.output_shape)),
            f"{row.parameters:,}",
            f"{row.multiply_adds // batch:,}",
        )
        for index, row in enumerate(summary.rows, start=1)
    ]
    thin, thick = "-" * len(head), "=" * len(head)
    return "\n".join([thin, head, thick, *rows, thick, *_totals(summary), thin, ""])


def _totals(summary: Summary) -> list[str]:
    total = summary.input_mb + summary.passes_mb + summary.parameters_mb
    lines = [
        f"Total params: {summary.parameters:,}",
        f"Trainable params: {summary.trainable:,}",
        f"Non-trainable params: {summary.parameters - summary.trainable:,}",
        f"Multiply-adds of one image: {summary.multiply_adds:,}",
        f"Input size (MB): {summary.input_mb:.2f}",
        f"Forward/backward pass size (MB): {summary.passes_mb:.2f}",
        f"Params size (MB): {summary.parameters_mb:.2f}",
        f"Estimated Total Size (MB): {total:.2f}",
    ]
    if any(summary.outside):
        parameters, multiply_adds = summary.outside
        lines.append(f"Of these in no row above: {parameters:,} parameters, {multiply_adds:,} multiply-adds")
    return lines
