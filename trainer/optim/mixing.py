"""Blends of two images and their targets, on the device, from numbers drawn on the host."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.optim.config import MixingConfig

NODES = 2**14  # of the table of a Beta distribution


class Mixing:
    """Mixup and cutmix of a micro-batch with itself, shifted, as torchvision's classes have it.

    Reference:
        1710.09412 (mixup) and 1905.04899, section 3.1 (cutmix).
    """

    def __init__(self, config: MixingConfig, num_classes: int, shift: int = 1) -> None:
        """Tabulate the Beta distributions.

        Args:
            config: What is on.
            num_classes: Length of a row of shares.
            shift: Rows from an image to its partner: the number of its repeats in a row, or it would meet itself.
        """
        self._classes, self._shift = num_classes, shift
        self._switch = 0.5 if config.switch is None else config.switch
        self._probability = 1.0 if config.probability is None else config.probability
        self._mixup = BetaQuantiles(config.mixup) if config.mixup else None
        self._cutmix = BetaQuantiles(config.cutmix) if config.cutmix else None

    def __call__(self, images: Tensor, targets: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a micro-batch, if mixing is on.

        Args:
            images: (N, 3, H, W) float, N at least 2, in any memory format; overwritten.
            targets: (N,) int64, on the same device.
            draws: (4,) float64, uniform in [0, 1), on the host: whether and which kind, the coefficient, and the
                rectangle's centre (x, y).

        Returns:
            The images and the targets: as they were, or mixed and (N, C) float32 shares of the classes.
        """
        if not (self._mixup or self._cutmix):
            return images, targets
        which, coefficient, x, y = draws.tolist()  # no sync: they lie on the host
        if which >= self._probability:
            return images, targets
        which /= self._probability  # uniform again
        if self._cutmix and (not self._mixup or which < self._switch):
            kept = _cutmix(images, self._shifted(images), self._cutmix(coefficient), x, y)
        else:
            assert self._mixup  # as one of them is on
            kept = self._mixup(coefficient)
            images.lerp_(self._shifted(images), 1 - kept)
        shares = torch.zeros(len(targets), self._classes, device=targets.device).scatter_(1, targets[:, None], 1.0)
        return images, shares.lerp_(self._shifted(shares), 1 - kept)

    def _shifted(self, batch: Tensor) -> Tensor:
        """Each row in the place of a later one, the last in the first's; unlike `roll` it keeps the memory format."""
        cut = len(batch) - self._shift % len(batch)
        return torch.cat([batch[cut:], batch[:cut]])


class BetaQuantiles:
    """The inverse distribution function of Beta(a, a), rising, exact to 1e-6 for `a` up to 1,000."""

    def __init__(self, a: float) -> None:
        """Integrate the density, x^(a-1) (1-x)^(a-1), from 0 to 1/2; the other half is its mirror image.

        For small `a` it grows without bound at 0, but not in t = x^a, of which it is (1-x)^(a-1) / a. Nodes lie denser
        towards 0, where for small `a` the function bends.
        """
        x: NDArray[np.float64] = np.linspace(0, 1, NODES + 1) ** 2 / 2
        middle = (x[1:] + x[:-1]) / 2
        # (t[1:] - t[:-1]) (1-x)^(a-1), factored such that no large `a` overflows: 4x(1-x) is at most 1
        masses = x[1:] * (4 * x[1:] * (1 - middle)) ** (a - 1) * (1 - (x[:-1] / x[1:]) ** a)
        below = np.concatenate([[0.0], masses.cumsum()])
        self._x, self._below = x, below / (2 * below[-1])

    def __call__(self, share: float) -> float:
        """The value that this share, 0 to 1, of the distribution lies below."""
        if share > 0.5:
            return 1 - self(1 - share)
        return float(np.interp(share, self._below, self._x))


def _cutmix(images: Tensor, others: Tensor, kept: float, x: float, y: float) -> float:
    """Paste a rectangle of the others in place; returns the share that is left of the images."""
    height, width = images.shape[-2:]
    half = 0.5 * math.sqrt(1 - kept)
    left, right = _span(int(x * width), int(half * width), width)
    top, bottom = _span(int(y * height), int(half * height), height)
    images[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return 1 - (right - left) * (bottom - top) / (width * height)


def _span(centre: int, half: int, size: int) -> tuple[int, int]:
    return max(centre - half, 0), min(centre + half, size)
