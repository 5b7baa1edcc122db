"""Colour operations on a batch, with a strength for each image.

torchvision's functions take one strength for all images of a call. These return the same pixels, bit for bit, and the
result for an image does not depend on the others in the batch. Images are (N, 3, H, W) uint8 throughout.

Reference:
    torchvision.transforms.v2.functional: `adjust_brightness`, `adjust_contrast`, `adjust_saturation`,
    `adjust_sharpness`, `adjust_hue`, `posterize`, `solarize`, `autocontrast`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.plan.draws import Floats

NEARLY_256 = 255.999  # as in torchvision: maps 0 to 1 evenly to the whole numbers from 0 to 255
SECTORS = ((0b1100001, 0b0001100), (0b0000110, 0b0110000), (0b0011000, 0b1000011))
"""Sixths of the colour wheel (bits) in which R, G and B are the highest and the lowest channel; the 7th is a turn."""


def brightness(images: Tensor, factors: Floats) -> Tensor:
    """Blend with black: (N,) factors of at least 0; 1 has no effect."""
    return _clamped(images.float().mul_(_each(factors, images)))


def contrast(images: Tensor, factors: Floats) -> Tensor:
    """Blend with the mean of the image's grey values: (N,) factors of at least 0; 1 has no effect."""
    grey = F.rgb_to_grayscale(images).float()
    # sums of whole numbers are exact in any order, so neither the batch nor the number of threads matters
    total = grey.sum(dim=3, keepdim=True).sum(dim=(1, 2), keepdim=True, dtype=torch.float64)
    # a plane filled with the mean, as multiplying by one number for many pixels is slow
    return _blend(images, grey.copy_(total / grey[0].numel()), factors)


def saturation(images: Tensor, factors: Floats) -> Tensor:
    """Blend with the grey image: (N,) factors of at least 0; 1 has no effect."""
    return _blend(images, F.rgb_to_grayscale(images).float(), factors)


def sharpness(images: Tensor, factors: Floats) -> Tensor:
    """Blend all but the border with the blurred image: (N,) factors of at least 0; 1 has no effect."""
    pixels = images.float()
    inner = pixels[..., 1:-1, 1:-1]
    rows = (pixels[..., :-2, :] + pixels[..., 1:-1, :]).add_(pixels[..., 2:, :])
    blurred = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4).mul_(1 / 13).round_()
    inner.addcmul_(blurred.sub_(inner), _each(1.0 - factors, images))
    return _clamped(pixels)


def hue(images: Tensor, shifts: Floats) -> Tensor:
    """Turn the colour wheel by (N,) -0.5 to 0.5 of a turn."""
    turn, spread, value = _hue_saturation_value(images)
    turn += _each(shifts, images)[:, 0]
    turn -= turn.floor()
    return _red_green_blue(turn, spread, value)


def posterize(images: Tensor, bits: Floats) -> Tensor:
    """Keep the (N,) 0 to 8 highest bits."""
    masks = (0xFF00 >> bits.astype(np.int64)).astype(np.uint8)
    return images & _each(masks, images)


def solarize(images: Tensor, thresholds: Floats) -> Tensor:
    """Invert what is as bright as the (N,) thresholds, 0 black to 1 white, or brighter."""
    bounds = np.ceil((255.0 * thresholds).astype(np.float32)).astype(np.uint8)
    return images ^ (images >= _each(bounds, images)).to(torch.uint8).neg_()


def solarize_add(images: Tensor, numbers: Floats) -> Tensor:
    """Add (N,) 0 to 128 to what is darker than 128.

    Reference:
        timm.data.auto_augment.solarize_add.
    """
    return images + (images < 128) * _each(numbers.astype(np.uint8), images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel from black to white, where it holds more than one value."""
    pixels = images.float()
    least, most = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    flat = (most == least).float()
    scale = (most - least).mul_(1 / 255).add_(flat)
    return _clamped(pixels.sub_(least.mul_(1 - flat)).div_(scale))


def to_bytes(values: Tensor) -> Tensor:
    """Numbers from 0 to 255, rounded down, as uint8: by way of int16 in a third of the time on a CPU."""
    return values.to(torch.int16).to(torch.uint8)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor from the host without waiting for the device."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _each(values: Floats | NDArray[np.uint8], images: Tensor) -> Tensor:
    """(N, 1, 1, 1) a number for each image, float32 or uint8."""
    narrow = values.astype(np.float32) if values.dtype == np.float64 else values
    return on_device(torch.from_numpy(narrow), images.device).view(-1, 1, 1, 1)


def _blend(images: Tensor, other: Tensor, factors: Floats) -> Tensor:
    scaled = images.float().mul_(_each(factors, images))
    return _clamped(scaled.addcmul_(other, _each(1.0 - factors, images)))


def _clamped(values: Tensor) -> Tensor:
    return to_bytes(values.clamp_(0, 255))


def _hue_saturation_value(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From (N, 3, H, W) uint8 to three (N, H, W) float32, each 0 to 1."""
    red, green, blue = images.unbind(1)
    most = red.maximum(green).maximum(blue)
    least = red.minimum(green).minimum(blue)
    value, grey = _share(most), (most == least).float()
    spread = value - _share(least)
    divisor = spread + grey  # grey has no hue, and any divisor will do
    from_red, from_green, from_blue = ((value - _share(channel)).div_(divisor) for channel in (red, green, blue))
    is_red, is_green = most == red, most == green
    turn = (from_blue - from_green).mul_(is_red.float())
    turn += (from_red + 2).sub_(from_blue).mul_((is_green & ~is_red).float())
    turn += (from_green + 4).sub_(from_red).mul_((~(is_red | is_green)).float())
    return turn.mul_(1 / 6).add_(1).frac_(), spread.div_(value + grey), value


def _red_green_blue(turn: Tensor, spread: Tensor, value: Tensor) -> Tensor:
    """From three (N, H, W) float32 to (N, 3, H, W) uint8."""
    sixths = turn * 6
    sectors = sixths.floor()
    part = sixths.sub_(sectors).mul_(spread)
    pale = 1 - spread
    sectors = to_bytes(sectors)
    odd = (sectors & 1).float()
    middle = (1 - part).mul_(odd).add_(part.add_(pale).mul_(1 - odd)).mul_(value)
    high, mid, low = (to_bytes(level * NEARLY_256) for level in (value, middle, pale.mul_(value)))
    channels = list[Tensor]()
    for highest, lowest in SECTORS:
        is_high, is_low = _one_of(highest, sectors), _one_of(lowest, sectors)
        channels.append((high & is_high) | (low & is_low) | (mid & ~(is_high | is_low)))
    return torch.stack(channels, dim=1)


def _share(channel: Tensor) -> Tensor:
    return channel.float().mul_(1 / 255)


def _one_of(bits: int, sectors: Tensor) -> Tensor:
    """255 where the sector's bit is set, else 0: on a CPU ten times as fast as comparing and choosing."""
    return (torch.bitwise_right_shift(bits, sectors) & 1).neg_()
