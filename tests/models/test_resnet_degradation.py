"""The degradation of plain networks (1512.03385, sections 1 and 4.1, Figures 1 and 6), and its cure, within seconds."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.design import Design
from models.resnet import ResNet

CLASSES, SIZE, BATCH, BATCHES = 8, 16, 32, 4


def images_and_labels() -> tuple[Tensor, Tensor]:
    """A fixed pattern a class under noise: simple enough that whatever trains at all learns it."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(CLASSES, 3, SIZE, SIZE, generator=generator)
    labels = torch.arange(BATCH * BATCHES) % CLASSES
    return 0.7 * patterns[labels] + torch.randn(len(labels), 3, SIZE, SIZE, generator=generator), labels


def network(block: str, depth: int) -> ResNet:
    """Section 4.2's network of that depth, half as wide."""
    torch.manual_seed(0)
    n = (depth - 2) // 6
    return ResNet(
        Design(
            block=block,  # type: ignore[arg-type]
            depths=(n, n, n),
            planes=8,
            small_images=True,
            shortcut="A",
            num_classes=CLASSES,
        )
    ).train()


def first_gradient(block: str, depth: int) -> float:
    """Norm of the loss's gradient at the first convolution, before any step."""
    images, labels = images_and_labels()
    model = network(block, depth)
    F.cross_entropy(model(images[:BATCH]), labels[:BATCH]).backward()
    assert isinstance(model.conv1.weight, Tensor)
    assert model.conv1.weight.grad is not None
    return model.conv1.weight.grad.norm().item()


def final_loss(block: str, depth: int, steps: int = 40) -> float:
    """Mean training loss of the last eight steps."""
    images, labels = images_and_labels()
    model = network(block, depth)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    losses: list[float] = []
    for step in range(steps):
        rows = torch.arange(BATCH) + step % BATCHES * BATCH
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-8:]) / 8


def test_depth_blows_up_a_plain_network_s_gradient_and_shortcuts_keep_it() -> None:
    # Measured: plain 2.7 -> 220, residual 1.0 -> 2.6.
    assert first_gradient("plain", 56) > 20 * first_gradient("plain", 20)
    assert first_gradient("basic", 56) < 4 * first_gradient("basic", 20)


@pytest.mark.slow
def test_a_deeper_plain_network_trains_worse_and_a_deeper_residual_one_does_not() -> None:
    # Measured: plain-20 1.07, plain-56 2.04 (chance is 2.08), ResNet-20 0.003, ResNet-56 0.006.
    assert final_loss("plain", 56) > final_loss("plain", 20) + 0.3
    assert final_loss("basic", 56) < final_loss("basic", 20) + 0.1
    assert final_loss("basic", 56) < final_loss("plain", 20) - 0.5
