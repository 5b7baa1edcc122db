"""A copy of the state in host memory, which is written while training goes on."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

PLAIN = (type(None), bool, int, float, str)  # types that `weights_only` loading allows, besides tensors

_ALIGNMENT = 64  # bytes, of the start of each buffer
_HEADER = 1024  # bytes, at most: name, shape and padding of a tensor in a file
_REST = 65_536  # bytes, at most: the manifest, plain values and the files' headers


class Snapshot:
    """Copies trees of tensors into buffers that it reuses, as the first write to new memory costs more than a copy."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}
        self._reserve = torch.empty(0, dtype=torch.uint8)
        self._copied: Sequence[torch.Event] = []
        # one core does not keep the memory busy; torch's _foreach_copy_ is no faster than a loop
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    def reserve(self, count: int, device: torch.device) -> None:
        """Allocate `count` bytes for buffers now, page-locked if the tensors are on a GPU.

        Page-locking hundreds of buffers, or writing to them for the first time, takes longer than the copies do.
        """
        self._reserve = torch.empty(count, dtype=torch.uint8, pin_memory=device.type == "cuda").zero_()

    @torch.no_grad()
    def take(self, tree: Any) -> Any:
        """A copy of a tree (dicts, lists and tuples of tensors and plain values) on the CPU, in the same memory format.

        The next call overwrites it. Copies from a GPU are only begun: see `ready`.

        Raises:
            TypeError: A value is of another kind, which could be written but not safely loaded.
        """
        sources = dict(_tensors(tree, ()))
        self._buffers = {path: self._fitting(self._buffers.get(path), tensor) for path, tensor in sources.items()}
        pairs = [(self._buffers[path], tensor) for path, tensor in sources.items()]
        other = self._pool.submit(_copy, [pair for pair in pairs[::2] if not pair[1].is_cuda])
        _copy([pair for pair in pairs[::2] if pair[1].is_cuda] + pairs[1::2])
        other.result()
        devices = {tensor.device for tensor in sources.values() if tensor.is_cuda}
        # on the stream of the training steps, so that the next step changes nothing before it is copied
        self._copied = [torch.cuda.current_stream(device).record_event() for device in devices]
        return _rebuilt(tree, (), self._buffers)

    def ready(self) -> None:
        """Wait for the copies of the last `take`."""
        for event in self._copied:
            event.synchronize()  # sync

    def _fitting(self, buffer: Tensor | None, tensor: Tensor) -> Tensor:
        # with the same strides: converting NHWC to NCHW is slow, and the writer can do it
        if (
            buffer is not None
            and (buffer.dtype, buffer.shape, buffer.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
            and buffer.is_pinned() == tensor.is_cuda
        ):
            return buffer
        if not 0 < tensor.nbytes <= len(self._reserve) or self._reserve.is_pinned() != tensor.is_cuda:
            return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
        return self._carved(torch.empty_like(tensor, device="meta"))

    def _carved(self, like: Tensor) -> Tensor:
        """A piece of the reserve; through numpy it gets its own storage, or a file would hold the whole reserve."""
        piece, self._reserve = self._reserve[: like.nbytes], self._reserve[-(-like.nbytes // _ALIGNMENT) * _ALIGNMENT :]
        return torch.from_numpy(piece.numpy()).view(like.dtype).as_strided(like.shape, like.stride())


def _copy(pairs: list[tuple[Tensor, Tensor]]) -> None:
    for buffer, tensor in pairs:
        buffer.copy_(tensor.detach(), non_blocking=True)


def tree_bytes(tree: Any) -> int:
    """An upper estimate of a tree's size on disk."""
    return sum(tensor.nbytes + _HEADER for _, tensor in _tensors(tree, ())) + _REST


def _tensors(tree: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    if isinstance(tree, Tensor):
        yield path, tree
    elif isinstance(tree, Mapping | list | tuple):
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        for key, value in items:
            yield from _tensors(value, (*path, key))
    elif type(tree) not in PLAIN:
        raise TypeError(
            f"{'.'.join(map(str, path))}: a checkpoint holds tensors and plain values, not {type(tree).__qualname__}"
        )


def _rebuilt(tree: Any, path: tuple[Any, ...], buffers: dict[tuple[Any, ...], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return buffers[path]
    if isinstance(tree, Mapping):
        return {key: _rebuilt(value, (*path, key), buffers) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        values = [_rebuilt(value, (*path, index), buffers) for index, value in enumerate(tree)]
        return values if isinstance(tree, list) else tuple(values)
    return tree
