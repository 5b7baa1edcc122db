"""The training loop that anyone would write: nothing is counted, logged, kept or asked."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from data.plan.config import InputConfig
from models import factory
from models.config import ModelConfig
from tests.benchmarks.config import LR, MOMENTUM, WEIGHT_DECAY, LoopTask
from tests.benchmarks.resident import Opened, images_and_targets
from trainer.gpu import wait
from trainer.world import World


def open_loop(task: LoopTask, world: World) -> Opened:
    """The loop at its first step (collective).

    In a world of one it loads nothing of ours but the network, and its memory is a bare loop's.
    """
    device, agreed = _joined(task, world)
    layout = torch.channels_last if task.channels_last else torch.contiguous_format
    network = _network(task, device, layout)
    if world.world_size > 1:
        network = DistributedDataParallel(network)
    optimizer = SGD(network.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    images, targets = (part.to(device) for part in images_and_targets(task))
    mean, std = (255 * torch.tensor(part, device=device).view(1, 3, 1, 1) for part in _statistics())

    def turn() -> None:
        for _ in range(task.steps):
            optimizer.zero_grad()
            inputs = images.permute(0, 3, 1, 2).float().sub_(mean).div_(std)  # (N, H, W, C) -> (N, C, H, W)
            with torch.autocast(device.type, torch.bfloat16, enabled=task.precision == "bf16"):
                loss = F.cross_entropy(network(inputs.contiguous(memory_format=layout)), targets)
            loss.backward()
            optimizer.step()
        wait(device)

    return Opened(network=network, turn=turn, agreed=agreed)


def _network(task: LoopTask, device: torch.device, layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    network = factory.build(ModelConfig(name=task.network, num_classes=task.num_classes))
    return network.train().to(device, memory_format=layout)  # pyright: ignore[reportCallIssue] - as in runtime.py


def _joined(task: LoopTask, world: World) -> tuple[torch.device, Callable[[bool], bool]]:
    """This process's device, and whether any rank says so (collective)."""
    if world.world_size > 1:
        from trainer.runtime import Runtime  # loads accelerate, to join the process group

        runtime = Runtime(world, task.precision, task.threads)
        return runtime.device, runtime.any
    torch.set_num_threads(task.threads)
    torch.backends.cudnn.benchmark = True  # as ours: without it the ratio would flatter ours on a GPU
    torch.backends.cudnn.allow_tf32 = task.precision != "fp32"
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"), bool


def _statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
    config = InputConfig()
    return config.mean, config.std
