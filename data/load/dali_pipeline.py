"""The graph of DALI's operators, the conversion of its output to a tensor, and the meaning of its errors."""

import re
from collections.abc import Callable
from typing import Any

import torch
from nvidia.dali import fn as operators
from nvidia.dali import types as constants
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.plugin.pytorch.torch_utils import to_torch_tensor
from torch import Tensor

fn: Any = operators  # DALI makes both from its native library: its stubs do not know all their names
types: Any = constants

QUEUE = 2  # batches decoded ahead; more changes little (measured) and costs memory
GPU_THREADS = 8  # each has buffers of its own, on the GPU and in page-locked memory
DECODER = "operator `nvidia.dali.fn.decoders."
# errors that no image causes; 5, 15 and 21 are nvImageCodec's codes for a failed allocation and a failed CUDA call
DEVICE = re.compile(r"CUDA|cudaError|allocat|bad_alloc|out of memory|failure: '#(5|15|21)'")


def number(device: torch.device) -> int | None:
    """CUDA's number of a GPU, None for the CPU; "cuda" alone means the current GPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.current_device() if device.index is None else device.index


def pipeline(source: Callable[[], Any], batch: int, threads: int, *, gpu: int | None, padded: bool) -> Pipeline:
    """Decode a region, pad it, and resize a part of it to a square, mirrored where the part's ends are swapped.

    Args:
        source: Returns, for one batch, the encoded images, the columns of `Regions` in `data.load.regions` (those of
            the padding only with `padded`), the sides of the output, and 1 for those resized by a cubic filter.
        batch: Most images in a batch.
        threads: Of the CPU; with a GPU at most `GPU_THREADS` are used.
        gpu: Number of the GPU that decodes and resizes, or None.
        padded: Regions may be padded.
    """
    workers = threads if gpu is None else min(threads, GPU_THREADS)
    graph = Pipeline(batch, workers, gpu, prefetch_queue_depth=QUEUE)
    with graph:
        whole = 4 if padded else 2  # columns of whole pixels
        encoded, start, shape, *padding, low, high, side, cubic = fn.external_source(
            source=source,
            num_outputs=whole + 5,
            batch=True,
            ndim=[*[1] * (whole + 3), 0, 0],
            dtype=[types.UINT8, *[types.INT32] * whole, *[types.FLOAT] * 3, types.INT32],
        )
        # by default DALI rotates images by their EXIF orientation, unlike Pillow and torchvision; the regions are those
        # of the stored image
        images = fn.decoders.image_slice(
            encoded,
            start=start,
            shape=shape,
            axes=[0, 1],
            adjust_orientation=False,
            # nvJPEG would repeat chroma where the CPU's decoder interpolates it: up to 59 levels off (emulated)
            **({"device": "cpu"} if gpu is None else {"device": "mixed", "jpeg_fancy_upsampling": True}),
        )
        if padded:
            images = fn.slice(
                images, start=padding[0], shape=padding[1], axes=[0, 1], out_of_bounds_policy="pad", fill_values=0
            )
        size = fn.stack(side, side)
        linear, other = (int(kind) for kind in (types.INTERP_LINEAR, types.INTERP_CUBIC))
        kind = fn.cast(linear + (other - linear) * cubic, dtype=types.INTERP_TYPE)
        images = fn.resize(images, size=size, roi_start=low, roi_end=high, interp_type=kind, antialias=True)
        graph.set_outputs(images)
    graph.build()
    return graph


def own(images: Any, *, on_gpu: bool, pinned: bool) -> Tensor:
    """A pipeline's output as a tensor that no later batch overwrites.

    DALI keeps an output in host memory as long as a tensor refers to it. It reuses GPU memory in the order of the
    stream that `run` got, and knows of no other stream that reads it: such an output is copied on PyTorch's current
    stream into memory of PyTorch's allocator.

    Args:
        images: The output, N images of one size.
        on_gpu: It lies on a GPU, in the order of PyTorch's current stream.
        pinned: Copy to page-locked memory; for output on the host.

    Returns:
        (N, H, W, 3) uint8.
    """
    tensor = to_torch_tensor(images.as_tensor(), copy=on_gpu)
    return torch.empty_like(tensor, pin_memory=True).copy_(tensor) if pinned and not on_gpu else tensor


def insert(images: Tensor, ready: dict[int, Tensor]) -> None:
    """Replace rows of a batch by images decoded on the host; from page-locked memory, so that nothing waits for a GPU.

    Args:
        images: (N, H, W, 3) uint8, changed in place.
        ready: (H, W, 3) uint8 by row.
    """
    if images.is_cuda and ready:
        ready = dict(zip(ready, torch.stack([*ready.values()]).pin_memory(), strict=True))
    for row, image in ready.items():
        images[row].copy_(image, non_blocking=True)


def refusal(error: RuntimeError) -> str | None:
    """The message of a decoder about an image, which it may not name; None for any other failure."""
    operator, _, message = str(error).partition("encountered:")
    if DECODER not in operator or DEVICE.search(message):
        return None
    return message.strip().splitlines()[0]
