"""Which backend carries a plan out on this machine, and why."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import torch

from data.catalog.manifest import RAW, Manifest
from data.load.image_file import Images
from data.load.loader import PlanLoader, Stream
from data.load.note import Note
from data.load.threads import ThreadStream
from data.plan.samples import Plan, Samples
from data.types import Backend, has_dali

ENOUGH_CPUS = 6
"""Of a process that keep its GPU fed: an H100 trains ResNet-50 on 3,000 images/s, which take threads 1.3 to 1.7 CPU ms
each (measured), so the time of up to five CPUs; one more starts kernels. Threads hold the GIL for 0.033 ms an image, a
tenth of the time at that rate. No `dali` by itself: it takes 1.2 times the CPU time of threads (measured)."""


class UnusableBackendError(ValueError):
    """The backend asked for cannot do its work here; the message says why, and the mend."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backend and the reason for it."""

    backend: Backend
    reason: str


def choose(
    wanted: Backend | None, manifest: Manifest, device: torch.device, cpus: int, begun: Backend | None = None
) -> Chosen:
    """The backend for a data set on a device.

    Args:
        wanted: By the user; None leaves the choice to this function.
        manifest: The images.
        device: That trains on them.
        cpus: Of this process, for its threads.
        begun: What the run was begun with and keeps, where it can and the user does not want another.

    Raises:
        UnusableBackendError: The backend asked for cannot do its work here.
    """
    if wanted and (reason := problem(wanted, manifest, device)):
        raise UnusableBackendError(reason)
    if wanted:
        chosen = Chosen(wanted, "as asked for")
    elif begun and begun in get_args(Backend) and not _lacking(begun, manifest, device):
        chosen = Chosen(begun, "as the run began")
    else:
        chosen = _suited(manifest, device, cpus)
    if begun in (None, chosen.backend):
        return chosen
    return replace(chosen, reason=f"{chosen.reason}; the run began with {begun}, whose pixels differ by rounding")


def evaluating(backend: Backend) -> Backend:
    """What evaluates beside a backend that trains: no pixel of `dali_gpu` has been compared with torchvision's yet."""
    return "dali" if backend == "dali_gpu" else backend


def _suited(manifest: Manifest, device: torch.device, cpus: int) -> Chosen:
    if device.type != "cuda":
        return Chosen("threads", "the fastest on CPUs")
    if cpus >= ENOUGH_CPUS:
        return Chosen("threads", f"the cheapest on CPUs, of which {ENOUGH_CPUS} feed any GPU; this process has {cpus}")
    if lacking := _lacking("dali_gpu", manifest, device):
        return Chosen("threads", lacking)
    return Chosen("dali_gpu", f"the GPU decodes, as {cpus} CPUs of this process may not feed it")


def problem(backend: Backend, manifest: Manifest | None, device: torch.device) -> str | None:
    """Why a backend cannot do its work here, for the user; `manifest` None where the images are not known yet."""
    lacking = _lacking(backend, manifest, device)
    return f"--loader {backend}: {lacking}; use --loader threads" if lacking else None


def open_loader(
    plan: Plan,
    backend: Backend,
    *,
    device: torch.device,
    threads: int,
    max_broken: float,
    note: Note | None = None,
) -> PlanLoader:
    """A loader over a backend.

    Args:
        plan: What to do with which images.
        backend: As `choose` gave it.
        device: Where the batches are used; those on the host are page-locked for a GPU.
        threads: CPU threads that decode, at least 1.
        max_broken: Share of the images that may turn out to be broken, 0 to 1.
        note: Where to write down what the backend has in hand.
    """
    images, pinned = Images(plan.manifest), device.type == "cuda"

    def stream(samples: Iterator[Samples]) -> Stream:
        if backend == "threads":
            return ThreadStream(images, plan, samples, threads, pinned=pinned)
        from data.load.dali import DaliStream  # not installed everywhere

        place = device if backend == "dali_gpu" else torch.device("cpu")
        return DaliStream(images, plan, samples, threads=threads, device=place, pinned=pinned)

    return PlanLoader(plan, stream, max_broken, note)


def _lacking(backend: Backend, manifest: Manifest | None, device: torch.device) -> str | None:
    if backend == "threads":
        return None
    if not has_dali():
        return "NVIDIA DALI is not installed"
    if manifest and (manifest.formats == RAW).all():
        return "the images are raw pixels, of which there is nothing to decode"
    if backend == "dali_gpu" and device.type != "cuda":
        return "there is no GPU"
    return None
