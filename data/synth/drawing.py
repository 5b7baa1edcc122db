"""Draws one synthetic photograph: ground, object, light, sensor noise, JPEG.

An image is a pure function of (seed, split, class, index), its scale and the versions of numpy and Pillow. Only its
shape and its texture depend on its class.

Every processor gives the same bytes. Sines, roots and normal draws are computed in float64, though float32 would look
the same and cost half: their last bits depend on the processor's vector instructions (in float32 files differed), and
rounding to float32 removes the difference. There is no matrix product: its sums depend on the number of threads.
"""

import io
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.synth.config import Scale
from data.synth.shapes import SHAPES, TEXTURES, Plane

Picture = NDArray[np.floating]  # float32; one plane (H, W) or three (3, H, W), black 0 and white 1

# Share of images, range of the long side in pixels, range of long side / short side: ImageNet's training images are
# mostly Flickr's 500x375 and 500x333, with tails on both sides.
_SIZES = (
    (0.55, (500, 500), (4 / 3, 4 / 3)),
    (0.19, (500, 500), (3 / 2, 3 / 2)),
    (0.03, (500, 500), (1, 1)),
    (0.12, (500, 500), (1, 2)),
    (0.06, (110, 320), (1, 1.5)),
    (0.03, (600, 1000), (1.2, 1.6)),
    (0.02, (1000, 2000), (1.3, 1.5)),
)
_PORTRAIT = 0.2
_GREY = 0.015  # share of greyscale files; ImageNet's is about 0.015 too
_SMALLEST = 48  # pixels of a side: on fewer, textures cannot be recognised
_SHRINK = {"full": 1, "small": 4}
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as JPEG weighs the colours


class Pose(NamedTuple):
    """Position of the object, in pixels and radians."""

    centre_x: float
    centre_y: float
    radius: float
    turn: float
    stretch: float


def generator(seed: int, split: str, label: int, index: int) -> np.random.Generator:
    """The random numbers of one image."""
    key = np.array([seed, (split == "val") << 48 | label << 32 | index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def jpeg(rng: np.random.Generator, scale: Scale, shape: str, texture: str) -> bytes:
    """A JPEG file that shows an object of this shape and texture."""
    width, height = _size(rng, scale)
    ground, *inks = _palette(rng).tolist()
    detail = _fractal(rng, height, width)
    planes = _ground(rng, ground, detail)
    _paint(rng, planes, detail, (shape, texture), inks)
    _light(rng, planes)
    noise = rng.uniform(0.015, 0.05) / _SHRINK[scale]
    planes += noise * rng.standard_normal(planes.shape)
    return _encode(rng, planes)


def _size(rng: np.random.Generator, scale: Scale) -> tuple[int, int]:
    """Width and height."""
    shares, longs, aspects = zip(*_SIZES, strict=True)
    kind = rng.choice(len(shares), p=shares)
    long = rng.uniform(*longs[kind]) / _SHRINK[scale]
    short = long / rng.uniform(*aspects[kind])
    long, short = max(_SMALLEST, round(long)), max(_SMALLEST, round(short))
    return (short, long) if rng.random() < _PORTRAIT else (long, short)


def _palette(rng: np.random.Generator) -> np.ndarray:
    """(3, RGB): a dark or a light ground, then two inks, the darker first."""
    luma = (np.array([0.18, 0.5, 0.82]) + rng.uniform(-0.08, 0.08, 3))[:, None]
    chroma = rng.uniform(-1, 1, (3, 3))
    chroma -= (chroma * _LUMA).sum(axis=1, keepdims=True)
    gamut = np.minimum(luma, 1 - luma) / np.abs(chroma).max(axis=1, keepdims=True)
    colours = luma + rng.uniform(0.2, 1, (3, 1)) * gamut * chroma
    return colours if rng.random() < 0.5 else colours[[2, 0, 1]]


def _fractal(rng: np.random.Generator, height: int, width: int) -> Picture:
    """(H, W), of standard deviation about 1: noise of all sizes.

    Equal strength in each octave is a photograph's spectrum, 1/f; a little more in the fine ones makes up for the large
    flat object, and for the bytes of a file.
    """
    octaves = min(height, width).bit_length() - 2
    field = np.zeros((2, 2), dtype=np.float32)
    for shift in range(octaves, 0, -1):
        grid = (-(-height >> shift) + 1, -(-width >> shift) + 1)
        field = _resize(field, grid) + 1.1 ** (octaves - shift) * _normal(rng, grid)
    return _resize(field, (height, width)) * 0.4


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    return rng.standard_normal(shape).astype(np.float32)


def _resize(field: Picture, shape: tuple[int, ...]) -> Picture:
    return np.asarray(Image.fromarray(field).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _ground(rng: np.random.Generator, colour: list[float], detail: Picture) -> Picture:
    """(3, H, W): patches of two tones of a colour, their edges soft or hard, with the fractal on top."""
    patches = _resize(_normal(rng, (4, 5)), detail.shape)
    patches = np.clip(patches * rng.uniform(0.5, 12), -1, 1)
    tones = rng.uniform(-0.06, 0.06, 3).tolist()
    grain = rng.uniform(0.025, 0.065) * detail
    return np.stack([level + tone * patches + grain for level, tone in zip(colour, tones, strict=True)])


def _paint(
    rng: np.random.Generator, planes: Picture, detail: Picture, kind: tuple[str, str], inks: list[list[float]]
) -> None:
    """Draw the object and its shadow into (3, H, W)."""
    pose = _pose(rng, *detail.shape)
    box = _box(pose)
    x, y = _coordinates(rng, pose, box, detail.shape)
    distance = SHAPES[kind[0]](x, y) * pose.radius
    cover = np.clip(0.5 - distance / rng.uniform(1, 1 + pose.radius / 60), 0, 1)
    weave = _weave(rng, x, y, pose.radius, kind[1])
    slope_x, slope_y = rng.uniform(-0.2, 0.2, 2).tolist()
    shade = 1 + slope_x * x + slope_y * y + rng.uniform(0.02, 0.06) * detail[box]
    shadow = 1 - rng.uniform(0, 0.4) * np.exp(np.minimum(-distance, 0) * (10 / pose.radius))
    for plane, dark, light in zip(planes, *inks, strict=True):
        ground = plane[box] * shadow
        plane[box] = ground + cover * ((dark + (light - dark) * weave) * shade - ground)


def _pose(rng: np.random.Generator, height: int, width: int) -> Pose:
    """Anywhere in the central square, which is what evaluation looks at."""
    short = min(height, width)
    radius = short * rng.uniform(0.31, 0.43)
    slack = 0.53 * short - radius
    across, down = rng.uniform(-slack, slack, 2).tolist()
    turn, stretch = rng.uniform(0, 2 * math.pi), rng.uniform(0.88, 1.14)
    return Pose(width / 2 + across, height / 2 + down, radius, turn, stretch)


def _box(pose: Pose) -> tuple[slice, slice]:
    """Rows and columns that the object and its shadow can reach."""
    reach = 1.4 * pose.radius
    low, high = max(0, int(pose.centre_y - reach)), int(pose.centre_y + reach)
    left, right = max(0, int(pose.centre_x - reach)), int(pose.centre_x + reach)
    return slice(low, high), slice(left, right)


def _coordinates(
    rng: np.random.Generator, pose: Pose, box: tuple[slice, slice], shape: tuple[int, ...]
) -> tuple[Plane, Plane]:
    """The plane of the object at each pixel of the box, turned, stretched and slightly bent."""
    rows, columns = (np.arange(*part.indices(size), dtype=float) for part, size in zip(box, shape, strict=True))
    right, up = columns - pose.centre_x, (pose.centre_y - rows)[:, None]
    cos, sin = math.cos(pose.turn) / pose.radius, math.sin(pose.turn) / pose.radius
    x, y = (right * cos + up * sin) * pose.stretch, (up * cos - right * sin) / pose.stretch
    return x + rng.uniform(0, 0.06) * np.sin(3 * y + rng.uniform(0, 2 * math.pi)), y


def _weave(rng: np.random.Generator, x: Plane, y: Plane, radius: float, texture: str) -> Plane:
    """Share of the lighter ink, 0 to 1, its edges one pixel wide."""
    turn, pitch = rng.uniform(0, 2 * math.pi), 2 * math.pi / rng.uniform(0.38, 0.48)
    cos, sin = pitch * math.cos(turn), pitch * math.sin(turn)
    value = TEXTURES[texture](cos * x + sin * y, cos * y - sin * x, rng.uniform(0, 2 * math.pi, 7).tolist())
    return np.clip(0.5 + value * (radius / pitch), 0, 1)


def _light(rng: np.random.Generator, planes: Picture) -> None:
    """Contrast, exposure and a light that falls off to one side."""
    height, width = planes.shape[1:]
    contrast = rng.uniform(0.85, 1.15)
    planes *= contrast
    planes += 0.5 - 0.5 * contrast
    across, down = rng.uniform(-0.25, 0.25, 2).tolist()
    planes *= np.exp(np.linspace(-across, across, width))
    planes *= np.exp(np.linspace(-down, down, height) + rng.uniform(-0.3, 0.15))[:, None]


def _encode(rng: np.random.Generator, planes: Picture) -> bytes:
    pixels = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in pixels])
    image = image.convert("L") if rng.random() < _GREY else image
    quality = int(98 - 13 * rng.random() ** 2)
    subsampling = "4:4:4" if rng.random() < 0.1 else "4:2:0"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()
