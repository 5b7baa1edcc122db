"""Chooses the backend that carries out a plan on this machine, and opens it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import torch

from data.catalog.formats import RAW
from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.load.loader import PlanLoader, Stream
from data.load.note import Note
from data.load.threads import ThreadStream
from data.plan.evaluation import Plan
from data.plan.samples import Samples
from data.types import Backend, has_dali

ENOUGH_CPUS = 6
"""CPUs of a process that feed its GPU with threads: an H100 trains ResNet-50 on 3,000 images/s, each of which takes 1.3
to 1.7 CPU ms (measured), so up to five CPUs; one more launches kernels. Threads hold the GIL for 0.033 ms an image, a
tenth of the time at that rate. `dali` is never chosen: it takes 1.2 times the CPU time of threads (measured)."""


class UnusableBackendError(ValueError):
    """The requested backend cannot work here; the message says why, and the remedy."""


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
        wanted: The user's choice, or None.
        manifest: The images.
        device: That trains on them.
        cpus: Of this process.
        begun: The backend of the run's first start, which it keeps if it can and the user wants no other.

    Raises:
        UnusableBackendError: The backend that the user wants cannot work here.
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
    """The backend that evaluates while another trains: pixels of `dali_gpu` were never compared with torchvision's."""
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
    """Why a backend cannot work here, for the user; `manifest` is None where the images are not known yet."""
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
    """Open a loader.

    Args:
        plan: What to do with which images.
        backend: As returned by `choose`.
        device: Where the batches are used; those on the host are page-locked for a GPU.
        threads: CPU threads that decode, at least 1.
        max_broken: Share of the images that may be broken, 0 to 1.
        note: Records the batches that the backend works on.
    """
    images, pinned = Images(plan.manifest), device.type == "cuda"

    def stream(samples: Iterator[Samples]) -> Stream:
        if backend == "threads":
            return ThreadStream(images, plan, samples, threads, pinned=pinned)
        from data.load.dali import DaliStream  # not installed everywhere

        decoder = device if backend == "dali_gpu" else torch.device("cpu")
        return DaliStream(images, plan, samples, threads=threads, device=decoder, pinned=pinned)

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
