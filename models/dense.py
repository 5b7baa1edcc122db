"""A trained classifier applied to whole images of any size: its fully convolutional form."""

from typing import Any

import torch
from torch import nn


def fully_convolutional(network: nn.Module, image_size: int) -> int:
    """Let the network average its class scores over all positions of an image instead of scoring one crop.

    The last pooling then averages over windows of the size that it had in training, one for each position of the last
    map, and then over the windows' results. The linear layer comes after both averages, where it gives the same scores
    as between them.

    Args:
        network: Ends in `avgpool`, an average over the map, and `fc`, a linear layer; on any device.
        image_size: Side of the images that it was trained or evaluated with, pixels.

    Returns:
        The side of the windows, in the pixels of the last map.

    Raises:
        ValueError: The network ends otherwise.

    Reference:
        1512.03385, section 3.4; 1409.1556, section 3.2.
    """
    ending: Any = network
    pool, linear = getattr(ending, "avgpool", None), getattr(ending, "fc", None)
    if not isinstance(pool, nn.AdaptiveAvgPool2d) or not isinstance(linear, nn.Linear):
        raise ValueError("the network does not end in an average (avgpool) and a linear layer (fc)")
    channels, side = _pooled(network, pool, image_size)
    if channels != linear.in_features:
        raise ValueError("between the network's average (avgpool) and its linear layer (fc) there are other layers")
    ending.avgpool = nn.Sequential(nn.AvgPool2d(side, stride=1), nn.AdaptiveAvgPool2d(1))
    return side


@torch.no_grad()
def _pooled(network: nn.Module, pool: nn.Module, image_size: int) -> tuple[int, int]:
    """Channels and side of the map that is averaged."""
    seen: list[torch.Size] = []
    hook = pool.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    weight = next(network.parameters())
    training = network.training
    try:
        network.eval()(torch.zeros(1, 3, image_size, image_size, device=weight.device, dtype=weight.dtype))
    finally:
        hook.remove()
        network.train(training)
    return seen[0][1], seen[0][2]
