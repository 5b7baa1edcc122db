"""What every network of the registry must do; the quick run takes one of each kind of block."""

from collections.abc import Iterable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import factory, registry
from models.config import ModelConfig
from models.design import Design
from models.inception import AUX_LOSS_WEIGHT
from models.resnet import ResNet

ONE_OF_EACH = ("plain18", "resnet18", "resnet50", "resnet20", "ghostnet_050")
QUICKLY_TRACED = ("plain18", "resnet20", "ghostnet_050")  # with test_resnet.py's options, one of each kind again
# Tracing takes seconds a network and sees neither widths nor where a stride is, and a deeper network has more blocks of
# the same kinds: the least and the deepest of each family stand for those between, and for the others of their kinds.
TRACED = (
    *("resnet18", "resnet50", "resnet152", "plain18", "resnext50_32x4d", "ghost_resnet50"),
    *("resnet20", "resnet110", "plain20", "resnext29_8x64d", "inception_v3", "ghostnet_050"),
)


def every(names: Iterable[str], quick: Iterable[str] = ONE_OF_EACH) -> list[object]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network of ten classes, and two images of the least size that it can be trained at."""
    torch.manual_seed(0)
    row = registry.entry(name)
    size = max(row.min_size, *row.min_sizes.values()) if row.min_sizes else row.min_size
    return factory.build(ModelConfig(name=name, num_classes=10)), torch.randn(2, 3, size, size)


@pytest.mark.parametrize("name", every(registry.names()))
def test_a_train_step_reaches_every_parameter(name: str) -> None:
    network, images = build(name)
    output = network.train()(images)
    heads = output if isinstance(output, tuple) else (output,)
    assert all(logits.shape == (2, 10) for logits in heads)
    labels = torch.tensor([1, 7])
    losses = [F.cross_entropy(logits, labels) * (AUX_LOSS_WEIGHT if head else 1) for head, logits in enumerate(heads)]
    torch.stack(losses).sum().backward()
    untouched = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    broken = [key for key, parameter in network.named_parameters() if not parameter.grad.isfinite().all()]  # type: ignore[union-attr]
    assert (untouched, broken) == ([], [])


@pytest.mark.parametrize("name", every(TRACED))
def test_channels_last_gives_the_same_logits(name: str) -> None:
    network, images = build(name)
    network, images = network.double(), images.double()
    with torch.no_grad():
        network.train()(images)  # statistics of these images: a thousand layers at their start would overflow
        logits = network.eval()(images)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        other = network(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(other, logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", every(TRACED, QUICKLY_TRACED))
@pytest.mark.slow
def test_compile_finds_no_graph_break_in_training(name: str) -> None:
    with torch.device("meta"):
        network, images = build(name)
    output = torch.compile(network.train(), fullgraph=True, backend="eager")(images)
    assert (output[0] if isinstance(output, tuple) else output).shape == (2, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet20", "ghostnet_050", "inception_v3"])
def test_compile_finds_no_graph_break_in_evaluation(name: str) -> None:
    with torch.device("meta"):
        network, images = build(name)
    assert torch.compile(network.eval(), fullgraph=True, backend="eager")(images).shape == (2, 10)


@pytest.mark.slow
def test_compiled_code_gives_the_same_logits_and_gradients() -> None:
    torch.manual_seed(0)
    design = Design(block="bottleneck", depths=(1, 1, 1), planes=4, small_images=True, num_classes=3)
    network, images = ResNet(design).double().train(), torch.randn(8, 3, 16, 16, dtype=torch.float64)
    expected = network(images)
    expected.square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    logits = torch.compile(network, fullgraph=True)(images)
    logits.square().sum().backward()
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close([parameter.grad for parameter in network.parameters()], gradients)


@pytest.mark.parametrize("name", every(TRACED, QUICKLY_TRACED))
def test_torch_export_gives_the_same_logits_for_any_batch(name: str) -> None:
    network, images = build(name)
    with torch.no_grad():
        network.train()(images)
        network.eval()
        free = ({0: torch.export.Dim("batch", min=1)},)
        program = torch.export.export(network, (images,), dynamic_shapes=free).module()
        images = torch.cat([images, images + 1, -images])
        torch.testing.assert_close(program(images), network(images), rtol=1e-4, atol=1e-4)
