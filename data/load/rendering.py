"""Renders one image from its file to its row of a batch: crop, resize and flip as planned."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from data.catalog.manifest import Bytes, Manifest
from data.load import resampling
from data.load.image_file import Images
from data.plan.config import Interpolation
from data.plan.draws import Ints
from data.plan.evaluation import Plan
from data.plan.samples import Samples
from data.types import Batch, BrokenImage, BrokenImageError

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LARGEST = 1 << 25  # pixels of a resized image: 512 times as long as wide at 256 px
TRIES = 100  # candidates for the substitute of a broken image
BLACK = -1  # row of a black image, which replaces a broken one in an evaluation


@dataclass(slots=True)
class Resized:
    """The image of an evaluation that was resized last: the views of an image are consecutive."""

    key: tuple[int, ...] | None = None
    """Row of the manifest, height and width."""
    image: Image.Image | Bytes | None = None
    """Resized, or the original where the resized image would be too large."""


def render(images: Images, samples: Samples, row: int, out: Tensor, last: Resized) -> None:
    """Carry out the plan for one row, without augmentations.

    Args:
        images: The images to read.
        samples: The plan for the batch.
        row: Row of the batch.
        out: (side, side, 3) uint8 to be filled.
        last: Image that this thread rendered before.

    Raises:
        BrokenImageError: The image cannot be read or decoded.
    """
    index = int(samples.indices[row])
    if index == BLACK:
        out.zero_()
        return
    size, interpolation = samples.sizes[row], samples.interpolation(row)
    if samples.exact or size.prod() > LARGEST:
        key = (index, *size.tolist())
        if last.image is None or last.key != key:
            cut = _cut(images.pixels(index), samples.windows[row].tolist())
            last.key, last.image = key, _whole_resized(cut, size, interpolation)
        square = _part(last.image, samples, row)
    else:
        cut, (top, left) = _cut(images.pixels(index), samples.windows[row].tolist()), samples.corners[row].tolist()
        square = _resized(cut, size, interpolation)[top : top + samples.side, left : left + samples.side]
    out.copy_(square.flip(1) if samples.flips[row] else square)


def finish(images: Tensor, samples: Samples, part: slice, fill: tuple[int, int, int]) -> None:
    """Carry out the rest of the plan on some rows of a batch, (N, side, side, 3) uint8 on any device, in place."""
    shifts = samples.shifts[part]
    if samples.choices is None and not shifts.any():
        return
    from data.load import augment  # loads torchvision, which a run without augmentations does not need

    if shifts.any():
        augment.reflect(images, shifts, samples.flips[part])
    if samples.choices:
        augment.apply(images, samples.choices.rows(part), fill)


def batch_of(images: Tensor, samples: Samples, manifest: Manifest, broken: Iterable[BrokenImage]) -> Batch:
    return Batch(
        images=images,
        targets=torch.from_numpy(manifest.targets[samples.indices]),
        indices=torch.from_numpy(samples.indices),
        valid=torch.from_numpy(samples.valid),
        mixing=torch.from_numpy(samples.mixing),
        broken=tuple(broken),
        noise=None if samples.noise is None else torch.from_numpy(samples.noise),
    )


def substituted(images: Images, plan: Plan, samples: Samples, row: int) -> tuple[Samples, list[BrokenImage]]:
    """Replace the image of a row, if it is broken, by the next sound one of its class.

    In an evaluation, where a substitute is not counted, by a black one.

    Returns:
        The samples, and the broken images.

    Raises:
        BrokenImageError: All candidates are broken.
    """
    manifest, broken = images.manifest, list[BrokenImage]()
    for index in _candidates(manifest, int(samples.indices[row]), exact=samples.exact):
        if broken:
            samples = plan.replaced(samples, row, index)
        if index == BLACK:
            return samples, broken
        try:
            images.pixels(index)
        except BrokenImageError as error:
            broken.append(BrokenImage(manifest.label(index), str(error)))
        else:
            return samples, broken
    raise BrokenImageError(f"{broken[0]}, and so are the {len(broken) - 1} images that could replace it")


def _candidates(manifest: Manifest, index: int, *, exact: bool) -> Iterator[int]:
    yield index
    if exact:
        yield BLACK
        return
    same = np.flatnonzero(manifest.targets == manifest.targets[index])
    start = int(np.searchsorted(same, index))
    yield from np.roll(same, -start)[1:TRIES].tolist()


def _cut(pixels: Bytes, window: list[int]) -> Bytes:
    """(h, w, 3) the window of an image, black outside of the image."""
    top, left, height, width = window
    rows, columns = pixels.shape[:2]
    part = pixels[max(top, 0) : top + height, max(left, 0) : left + width]
    if part.shape[:2] == (height, width):
        return part
    above, before = max(-top, 0), max(-left, 0)
    below, behind = max(top + height - rows, 0), max(left + width - columns, 0)
    return np.pad(part, ((above, below), (before, behind), (0, 0)))


def _whole_resized(pixels: Bytes, size: Ints, interpolation: Interpolation) -> Image.Image | Bytes:
    """The image resized to `size` by Pillow, with torchvision's pixels; the original where that would be too large.

    PyTorch's kernel, whose weights have 16 bits, and Pillow's resize of a part, whose box has 32, are less exact:
    single pixels are two levels off.
    """
    height, width = size.tolist()
    if height * width > LARGEST:
        return pixels
    return Image.fromarray(pixels).resize((width, height), RESAMPLING[interpolation])


def _part(image: Image.Image | Bytes, samples: Samples, row: int) -> Tensor:
    """(side, side, 3) the row's crop of what `_whole_resized` returned."""
    corner, side = samples.corners[row], samples.side
    if isinstance(image, np.ndarray):
        part = resampling.part(image, samples.sizes[row], corner, side, samples.interpolation(row))
        return torch.from_numpy(part)
    top, left = corner.tolist()
    return torch.from_numpy(np.array(image.crop((left, top, left + side, top + side))))


def _resized(pixels: Bytes, size: Ints, interpolation: Interpolation) -> Tensor:
    """(*size, 3) of a whole crop, with antialias; at most two levels from Pillow, in a quarter of its time."""
    image, (height, width) = torch.from_numpy(pixels), size.tolist()
    if image.shape[:2] == (height, width):
        return image
    planes = image.permute(2, 0, 1)[None]  # (H, W, C) -> (1, C, H, W), channels last in memory: the fast kernel
    return F.interpolate(planes, (height, width), mode=interpolation, antialias=True)[0].permute(1, 2, 0)
