"""Grids of images with a word on each, as TensorBoard and reports show them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 4
LARGEST = 16  # images of a grid
SIDE = 144  # pixels of an image in the grid
QUALITY = 85  # of the JPEG: some 100 kB a grid

_LINE, _MARGIN, _FONT = 17, 4, 14  # pixels
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image."""

    encoded: bytes
    """JPEG."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def grid(images: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]]) -> Picture:
    """The images in rows of four, each above its caption.

    Args:
        images: (H, W, 3) RGB each, at least one; enlarged or reduced to one side.
        captions: Lines below each image, of the same number for all; what is too long is cut.
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
    return _encoded(sheet)


def _fitted(image: NDArray[np.uint8]) -> Image.Image:
    """Reduced smoothly, or enlarged such that its pixels can be seen."""
    how = Image.Resampling.NEAREST if max(image.shape[:2]) < SIDE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((SIDE, SIDE), how)


def _cut(word: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if pen.textlength(word, font) <= SIDE:
        return word
    kept = next((end for end in range(len(word), 0, -1) if pen.textlength(f"{word[:end]}...", font) <= SIDE), 0)
    return f"{word[:kept]}..."


def _encoded(sheet: Image.Image) -> Picture:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY)
    return Picture(buffer.getvalue(), sheet.width, sheet.height)
