"""The graph of DALI's operators, and how its output becomes a tensor."""

from collections.abc import Callable
from typing import Any

import torch
from nvidia.dali import fn as operators
from nvidia.dali import types as constants
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.plugin.pytorch.torch_utils import feed_ndarray
from torch import Tensor

fn: Any = operators  # DALI makes both from its native library: its stubs do not know all their names
types: Any = constants

QUEUE = 2  # batches decoded ahead; more changes little (measured) and costs memory


def pipeline(source: Callable[[], Any], batch: int, threads: int, *, gpu: int | None, padded: bool) -> Pipeline:
    """Decode a region, pad it, resize a part of it to a square, mirrored where the part's ends are.

    Args:
        source: Gives, of one batch, the encoded images, the columns of `Regions` in `data.load.regions` (those of the
            padding only where there is any) and the sides of the output.
        batch: Most images in a batch.
        threads: Decoding threads on the CPU.
        gpu: Number of the GPU that decodes and resizes, or None.
        padded: Regions may be padded.
    """
    graph = Pipeline(batch, threads, gpu, prefetch_queue_depth=QUEUE)
    with graph:
        whole = 4 if padded else 2  # columns of whole pixels
        encoded, start, shape, *padding, low, high, side = fn.external_source(
            source=source,
            num_outputs=whole + 4,
            batch=True,
            ndim=[*[1] * (whole + 3), 0],
            dtype=[types.UINT8, *[types.INT32] * whole, *[types.FLOAT] * 3],
        )
        # DALI would turn images by their EXIF orientation, which neither Pillow nor torchvision does; the regions are
        # measured on the stored image
        images = fn.decoders.image_slice(
            encoded,
            start=start,
            shape=shape,
            axes=[0, 1],
            adjust_orientation=False,
            device="cpu" if gpu is None else "mixed",
        )
        if padded:
            images = fn.slice(
                images, start=padding[0], shape=padding[1], axes=[0, 1], out_of_bounds_policy="pad", fill_values=0
            )
        size = fn.stack(side, side)
        images = fn.resize(
            images, size=size, roi_start=low, roi_end=high, interp_type=types.INTERP_LINEAR, antialias=True
        )
        graph.set_outputs(images)
    graph.build()
    return graph


def own(images: Any, device: torch.device, *, pinned: bool) -> Tensor:
    """A copy of a pipeline's output: DALI writes a later batch into the same memory.

    Args:
        images: The output, N images of one size.
        device: Where it lies, and the copy will.
        pinned: Copy to page-locked memory; for output on the host.

    Returns:
        (N, H, W, 3) uint8.
    """
    theirs = images.as_tensor()
    return feed_ndarray(theirs, torch.empty(theirs.shape(), dtype=torch.uint8, device=device, pin_memory=pinned))
