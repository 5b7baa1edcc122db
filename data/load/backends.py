"""Which backend carries a plan out on this machine, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from data.config import Backend
from data.formats import RAW
from data.installed import has_dali
from data.load.images import Images
from data.load.loader import PlanLoader, Stream
from data.load.note import Note
from data.load.threads import ThreadStream
from data.manifest import Manifest
from data.plan.samples import Plan, Samples


class UnusableBackendError(ValueError):
    """The backend asked for cannot do its work here; the message says why, and the mend."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backend and the reason for it."""

    backend: Backend
    reason: str


def choose(wanted: Backend | None, manifest: Manifest, device: torch.device) -> Chosen:
    """The backend for a data set on a device; `wanted` None leaves the choice to this function.

    Raises:
        UnusableBackendError: The backend asked for cannot do its work here.
    """
    if wanted:
        if reason := problem(wanted, manifest, device):
            raise UnusableBackendError(reason)
        return Chosen(wanted, "as asked for")
    if device.type != "cuda":
        return Chosen("threads", "the fastest on CPUs")
    lacking = _lacking("dali_gpu", manifest, device)
    return Chosen("threads", lacking) if lacking else Chosen("dali_gpu", "the GPU decodes beside its training")


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
