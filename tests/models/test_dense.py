import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import factory
from models.config import ModelConfig
from models.dense import fully_convolutional


def made(name: str = "resnet18", classes: int = 7) -> nn.Module:
    torch.manual_seed(0)
    return factory.build(ModelConfig(name=name, num_classes=classes)).eval()


def by_hand(network: nn.Module, images: Tensor, window: int) -> Tensor:
    """A map of scores, averaged: the linear layer as a 1x1 convolution over windows of the last map."""
    maps = list[Tensor]()
    hook = network.get_submodule("layer4").register_forward_hook(lambda *given: maps.append(given[2]))
    network(images)
    hook.remove()
    fc = network.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    scores = F.conv2d(F.avg_pool2d(maps[0], window, stride=1), fc.weight[:, :, None, None], fc.bias)
    return scores.mean((2, 3))


@torch.no_grad()
def test_at_the_native_size_the_logits_stay_and_at_others_they_are_the_mean_of_a_map_of_scores() -> None:
    network = made()
    dense = copy.deepcopy(network)
    assert fully_convolutional(dense, 224) == 7
    native = torch.randn(1, 3, 224, 224)
    assert torch.allclose(dense(native), network(native), atol=1e-5)
    for size in ((224, 320), (300, 260)):
        images = torch.randn(1, 3, *size)
        assert torch.allclose(dense(images), by_hand(network, images, 7), atol=1e-5)
        assert not torch.allclose(dense(images), network(images), atol=1e-5)


def test_a_network_in_training_mode_stays_so_with_its_statistics() -> None:
    network = made().train()
    before = network.get_buffer("bn1.running_mean").clone()
    assert fully_convolutional(network, 64) == 2
    assert network.training
    assert torch.equal(network.get_buffer("bn1.running_mean"), before)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: made("ghostnet_050"), "between the network's average"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), "does not end in an average"),
        (lambda: factory.build(ModelConfig(name="timm/resnet18", num_classes=7)), "does not end in an average"),
    ],
    ids=["ghostnet", "no fc", "another pooling"],
)
def test_a_network_that_ends_otherwise_is_refused(network, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fully_convolutional(network(), 224)
