"""The pictures of a run for TensorBoard: a training batch as the network sees it, and the worst mistakes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from data.names import shown
from data.plan.config import InputConfig
from models import class_names
from trainer.telemetry.mistakes import Mistake

PICTURES = 20  # epochs of a run that are shown
COLUMNS = 4
LARGEST = 16  # images of a grid
SIDE = 144  # pixels of an image in the grid
QUALITY = 85  # of the JPEG: some 100 kB a grid

_LINE, _MARGIN, _FONT = 17, 4, 14  # pixels
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image of known size."""

    encoded: bytes
    """JPEG or PNG."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def of(file: Path) -> Picture:
    """A picture in a file."""
    with Image.open(file) as image:
        return Picture(file.read_bytes(), *image.size)


def wanted(epoch: int, epochs: int) -> bool:
    """Whether an epoch, counted from 0, gets pictures: all do, or in a long run about `PICTURES`, evenly spread."""
    return epoch in (0, epochs - 1) or epoch * PICTURES // epochs != (epoch - 1) * PICTURES // epochs


def display_names(classes: Sequence[str]) -> list[str]:
    """The names of the classes, escaped, with ImageNet's synsets replaced by their English words."""
    known = class_names.names() if all(name[:1] == "n" and name[1:].isdigit() for name in classes) else {}
    return [shown(known.get(name, name)) for name in classes]


def batch(images: Tensor, targets: Tensor, config: InputConfig, names: Sequence[str]) -> Picture:
    """The first images of a training batch, after augmentation and mixing.

    Args:
        images: (N, 3, H, W) float, normalised.
        targets: (N,) int64, or (N, C) shares of the classes.
        config: Its normalisation is undone.
        names: Of the classes.
    """
    images, targets = images[:LARGEST].detach().float().cpu(), targets[:LARGEST].detach().cpu()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
    pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    pixels = pixels.permute(0, 2, 3, 1).contiguous()  # (N, C, H, W) -> (N, H, W, C)
    return grid(list(pixels.numpy()), [_labels(target, names) for target in targets])


def mistakes(worst: Sequence[Mistake], names: Sequence[str]) -> Picture:
    """Images with the predicted class and the true one."""
    captions = [(f"{one.confidence:.0%} {names[one.answer]}", f"is {names[one.target]}") for one in worst]
    return grid([one.image for one in worst], captions)


def grid(images: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]]) -> Picture:
    """Draw the images in rows of four, each above its caption.

    `images`: (H, W, 3) RGB, at least one; resized to one size. `captions`: the same number of lines for each image.
    """
    lines = len(captions[0])
    width, height = SIDE + _MARGIN, SIDE + _MARGIN + _LINE * lines
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + _MARGIN, rows * height + _MARGIN), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for number, (image, words) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, top = column * width + _MARGIN, row * height + _MARGIN
        sheet.paste(_fitted(image), (left, top))
        for line, word in enumerate(words):
            pen.text((left, top + SIDE + 1 + line * _LINE), _cut(word, pen, font), fill=_INK, font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY)
    return Picture(buffer.getvalue(), sheet.width, sheet.height)


def _labels(target: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """A line for a class, or two for the two largest shares of a mixed image."""
    if target.ndim == 0:
        return names[int(target)], ""
    shares, classes = target.topk(min(2, len(target)))
    lines = [
        f"{share:.0%} {names[kind]}" for share, kind in zip(shares.tolist(), classes.tolist(), strict=True) if share
    ]
    return lines[0], lines[1] if len(lines) > 1 else ""


def _fitted(image: NDArray[np.uint8]) -> Image.Image:
    """The image at `SIDE` px; a smaller one is enlarged without smoothing, so that its pixels can be seen."""
    how = Image.Resampling.NEAREST if max(image.shape[:2]) < SIDE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((SIDE, SIDE), how)


def _cut(word: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if pen.textlength(word, font) <= SIDE:
        return word
    kept = next((end for end in range(len(word), 0, -1) if pen.textlength(f"{word[:end]}...", font) <= SIDE), 0)
    return f"{word[:kept]}..."
