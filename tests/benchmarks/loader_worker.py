"""`python -m tests.benchmarks.loader_worker TASK`: a loader in a process of its own, which gives batches when told to.

It says what it has to say as lines of JSON on standard output: first `missing` (a package) or `ready`, then one line
for each turn. A turn is a line on standard input: its seconds. The end of the input ends the process.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from tests.benchmarks import loaders_config
from tests.benchmarks.contestant import lines_out

if TYPE_CHECKING:
    from torch import Tensor

    from tests.benchmarks.loaders_config import BenchTask


def main() -> None:
    """Serve one contender."""
    say = lines_out()
    # torchvision warns at each image that its decoders will move to another package
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    try:
        batches, note = open_batches(loaders_config.decode(sys.argv[1]))
        first = next(batches)
    except ModuleNotFoundError as error:
        say({"missing": error.name})
        return
    say({"ready": monotonic(), "shape": list(first.shape[1:]), "dtype": str(first.dtype), "note": note})
    for line in sys.stdin:
        say({"images": _consume(batches, float(line))})


def open_batches(task: BenchTask) -> tuple[Iterator[Tensor], str]:
    """The contender's images, batch by batch without end, and what is to be known about it.

    Raises:
        ModuleNotFoundError: Its package is not installed.
    """
    match task.contender:
        case "threads" | "dali" | "dali_gpu":
            from tests.benchmarks import our_loaders

            return our_loaders.batches(task), ""
        case "dali-example":
            from tests.benchmarks import dali_peer

            return dali_peer.example(task), ""
        case "spdl":
            from tests.benchmarks import spdl_peer

            return spdl_peer.example(task), ""
        case "floor" | "decode":
            from tests.benchmarks import floor

            return getattr(floor, task.contender)(task)
        case _:
            return _peers()[task.contender](task), ""


def _peers() -> dict[str, Callable[[BenchTask], Iterator[Tensor]]]:
    from tests.benchmarks import loader_peers

    return {
        "torchvision": loader_peers.torchvision_reference,
        "torchvision-v2": loader_peers.torchvision_v2,
        "timm": loader_peers.timm_loader,
    }


def _consume(batches: Iterator[Tensor], seconds: float) -> int:
    images, end = 0, monotonic() + seconds
    while monotonic() < end:
        images += len(next(batches))
    return images


if __name__ == "__main__":
    main()
