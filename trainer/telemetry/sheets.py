"""The pictures of a run: a training batch as the network sees it, and what it was surest about and wrong."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.plan.config import InputConfig
from models import class_names
from trainer.telemetry.mistakes import Mistake
from trainer.telemetry.pictures import LARGEST, Picture, grid

PICTURES = 20  # epochs of a run of which there are some


def wanted(epoch: int, epochs: int) -> bool:
    """Whether TensorBoard gets pictures of an epoch, from 0: of all, or of a long run of some spread over it."""
    return epoch in (0, epochs - 1) or epoch * PICTURES // epochs != (epoch - 1) * PICTURES // epochs


def display_names(classes: Sequence[str]) -> list[str]:
    """What people call the classes: ImageNet's synsets have words for them."""
    known = class_names.names() if all(name[:1] == "n" and name[1:].isdigit() for name in classes) else {}
    return [known.get(name, name) for name in classes]


def batch(images: Tensor, targets: Tensor, config: InputConfig, names: Sequence[str]) -> Picture:
    """The first images of a training batch, after augmentation and mixing.

    Args:
        images: (N, 3, H, W) float, normalised.
        targets: (N,) int64, or (N, C) shares of the classes.
        config: Whose normalisation is taken back.
        names: Of the classes.
    """
    images, targets = images[:LARGEST].detach().float().cpu(), targets[:LARGEST].detach().cpu()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
    pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    pixels = pixels.permute(0, 2, 3, 1).contiguous()  # (N, C, H, W) -> (N, H, W, C)
    return grid(list(pixels.numpy()), [_labels(target, names) for target in targets])


def mistakes(found: Sequence[Mistake], names: Sequence[str]) -> Picture:
    """Images with what they were taken for, and what they are."""
    captions = [
        (f"{mistake.confidence:.0%} {names[mistake.answer]}", f"is {names[mistake.target]}") for mistake in found
    ]
    return grid([mistake.image for mistake in found], captions)


def _labels(target: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """A line for a class, or two for the shares of a mixture."""
    if target.ndim == 0:
        return names[int(target)], ""
    shares, classes = target.topk(min(2, len(target)))
    lines = [
        f"{share:.0%} {names[kind]}" for share, kind in zip(shares.tolist(), classes.tolist(), strict=True) if share
    ]
    return lines[0], lines[1] if len(lines) > 1 else ""
