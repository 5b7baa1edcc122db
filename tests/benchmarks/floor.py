"""What no loader over libjpeg-turbo can beat: decoding and one resize, on images in memory, on plain threads."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from io import BytesIO
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import RandomResizedCrop

from data.catalog.tree import read
from tests.benchmarks.loaders_config import BenchTask

IN_MEMORY = 1000  # images: far more bytes than any cache of a processor holds
TRIAL = 48  # images that each decoder is tried on
TRIALS = 8

Decode = Callable[[Any], Tensor]  # encoded image -> (3, H, W) uint8


class Floor(NamedTuple):
    """Batches and what decoded them."""

    batches: Iterator[Tensor]
    """Without end."""
    decoder: str
    """Name of the package."""


class Encoded(NamedTuple):
    """One image and the window of it that is asked for."""

    content: bytearray
    """The file."""
    window: tuple[int, int, int, int]
    """Top, left, height, width, pixels."""


def floor(task: BenchTask) -> Floor:
    """Decode whole images, cut a window, resize it antialiased into the batch: (N, S, S, 3) uint8.

    Windows are drawn beforehand, as torchvision draws them; for validation they are those of its central crop, to whole
    pixels. Of the decoders that are installed the one counts that needs the least CPU time for all this. Contained:
    decoding, the window's copy, the resize, the copy into the batch. Not contained: reading files, drawing, flips,
    labels, conversion to float. A loader that decodes only the window's part of an image may come out below it.
    """
    return _floor(task, resize=True)


def decode(task: BenchTask) -> Floor:
    """Decode whole images and drop them: (N, 0) uint8."""
    return _floor(task, resize=False)


def _floor(task: BenchTask, *, resize: bool) -> Floor:
    torch.set_num_threads(1)  # the threads are ours
    images = _load(task)
    size = task.size if resize else None
    decoders = _decoders()
    best = _cheapest(decoders, images[:TRIAL], size)
    return Floor(_batches(images, task, decoders[best], size), best)


def _load(task: BenchTask) -> list[Encoded]:
    """Images from all over the split: the baseline of the kinds that all decoders know, RGB JPEGs."""
    tree = read(task.root / task.split)
    names = [entry.name for entry in tree.listing().entries]
    chosen = random.Random(0).sample(names, min(IN_MEMORY, len(names)))
    loaded = list[Encoded]()
    for content in ((tree.root / name).read_bytes() for name in chosen):
        with Image.open(BytesIO(content)) as image:
            if image.format == "JPEG" and image.mode == "RGB":
                loaded.append(Encoded(bytearray(content), _window(task, *image.size)))
    return loaded


def _window(task: BenchTask, width: int, height: int) -> tuple[int, int, int, int]:
    if task.training:
        top, left, h, w = RandomResizedCrop.get_params(torch.empty(1, height, width), [0.08, 1.0], [3 / 4, 4 / 3])
        return top, left, h, w
    side = min(height, width) * task.size // task.resize
    return (height - side) // 2, (width - side) // 2, side, side


def _decoders() -> dict[str, Decode]:
    """Those that are installed."""
    found = {"torchvision": _torchvision, "simplejpeg": _simplejpeg(), "turbojpeg": _turbojpeg()}
    return {name: decoder for name, decoder in found.items() if decoder}


def _torchvision(content: bytearray) -> Tensor:
    decode: Any = decode_jpeg  # one image in, one out; the stub also knows lists
    return decode(torch.frombuffer(content, dtype=torch.uint8), mode=ImageReadMode.RGB)


def _simplejpeg() -> Decode | None:
    try:
        simplejpeg: Any = import_module("simplejpeg")
    except ImportError:
        return None
    return lambda content: _planes(simplejpeg.decode_jpeg(content, "RGB"))


def _turbojpeg() -> Decode | None:
    """Needs the library of that name, too, which no package brings along."""
    try:
        turbojpeg: Any = import_module("turbojpeg")
        decoder = turbojpeg.TurboJPEG()
    except (ImportError, OSError, RuntimeError):
        return None
    return lambda content: _planes(decoder.decode(content, turbojpeg.TJPF_RGB))


def _planes(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)  # (H, W, C) -> (C, H, W), channels last in memory


def _cheapest(decoders: dict[str, Decode], images: list[Encoded], size: int | None) -> str:
    """The decoder whose best trial takes the least CPU time; in turns, so that a busy machine is busy for all."""
    out = torch.empty(len(images), size or 0, size or 0, 3, dtype=torch.uint8)
    trials: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in range(TRIALS):
        for name, decoder in decoders.items():
            start = time.process_time()
            _fill(out, images, decoder, size)
            trials[name].append(time.process_time() - start)
    return min(trials, key=lambda name: min(trials[name]))


def _fill(out: Tensor, images: list[Encoded], decoder: Decode, size: int | None) -> None:
    for row, image in zip(out, images, strict=False):
        pixels = decoder(image.content)
        if size:
            top, left, height, width = image.window
            window = pixels[None, :, top : top + height, left : left + width]
            resized = interpolate(window, (size, size), mode="bilinear", antialias=True)
            row.copy_(resized[0].permute(1, 2, 0))  # (C, H, W) -> (H, W, C)


def _batches(images: list[Encoded], task: BenchTask, decoder: Decode, size: int | None) -> Iterator[Tensor]:
    shape = (task.batch, size, size, 3) if size else (task.batch, 0)
    outs = [torch.empty(shape, dtype=torch.uint8) for _ in range(2)]
    step = -(-task.batch // task.threads)

    def begin(number: int) -> list[Future[None]]:
        out, first = outs[number % 2], number * task.batch
        chosen = [images[(first + row) % len(images)] for row in range(task.batch)]
        parts = [slice(start, start + step) for start in range(0, task.batch, step)]
        return [pool.submit(_fill, out[part], chosen[part], decoder, size) for part in parts]

    with ThreadPoolExecutor(task.threads) as pool:
        running = begin(0)
        for number in count(1):
            following = begin(number)  # so that no thread waits for the batch's last one
            for part in running:
                part.result()
            yield outs[(number - 1) % 2]
            running = following
