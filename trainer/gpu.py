"""This process's device: choosing it, reading its facts, setting PyTorch's options for it, and what differs on it."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils import deterministic as deterministic_settings

from trainer import devices
from trainer.recipe.config import Precision
from trainer.world import World

_YES = ("1", "true", "t", "yes", "y", "on")  # as accelerate reads its variables


def device_of(world: World) -> torch.device:
    """The device of this process: a GPU with its number, or the CPU. Nothing else decides it."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in _YES or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", devices.index(world.local_rank, torch.cuda.device_count()))


def address(device: torch.device) -> tuple[str, str] | None:
    """PCI address and UUID of a GPU; None for a CPU."""
    if device.type != "cuda":
        return None
    facts = torch.cuda.get_device_properties(device)
    return f"{facts.pci_domain_id:04x}:{facts.pci_bus_id:02x}:{facts.pci_device_id:02x}.0", str(facts.uuid)


def choose_algorithms(precision: Precision, *, deterministic: bool) -> None:
    """Set the algorithms PyTorch may use on a GPU; by default its convolutions round to tf32 even for fp32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)
        deterministic_settings.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] - costs time


def wait(device: torch.device) -> None:
    """Wait until the device has finished all work queued so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def place(model: nn.Module, device: torch.device, *, channels_last: bool) -> nn.Module:
    """Move a model to the device, in the memory layout of its images."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(device, memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's stub lacks it


def seed(device: torch.device, number: int) -> None:
    """Seed the device's generator, from which dropout and the like draw."""
    # torch.manual_seed visits every kind of device, which costs a small network 5 % of its step
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def fetched(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin to copy a tensor to the host; a function that waits for the copy, not for what is queued behind it."""
    copy, copied = tensor.to("cpu", non_blocking=True), torch.cuda.Event(blocking=True)  # into page-locked memory
    copied.record()

    def arrived() -> Tensor:
        copied.synchronize()  # sync
        return copy

    return arrived
