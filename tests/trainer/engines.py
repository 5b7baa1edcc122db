"""Runs that are built and ready, of one process or of two, on small images."""

import json
import multiprocessing
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.console import Console
from trainer.context import RunContext
from trainer.engine import build
from trainer.engine.fit import Fit
from trainer.engine.run_images import list_images
from trainer.optim.config import EmaConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.train import open_telemetry, own_recipe, take_hold
from trainer.world import World

RECIPE = Recipe(
    model=ModelConfig(name="resnet20", num_classes=4),
    input=InputConfig(train_size=32, eval_resize=36, eval_crop=32),
    ema=EmaConfig(decay=0.9),
    epochs=2,
    global_batch=24,
    micro_batch=12,
    precision="fp32",
)
"""Of the images that tests share, 96 to train on: 4 steps an epoch."""

# which loads torch once, for every process
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["trainer.train"])


def context(images: Path, output: Path, recipe: Recipe = RECIPE, world: World | None = None, **site: Any) -> RunContext:
    """What a run starts from; joins the process group (collective)."""
    return RunContext(
        recipe=recipe,
        site=SiteConfig(data=images, output=output, **{"threads": 1, "log_every": 1, **site}),
        runtime=Runtime(world or World(), recipe.precision, threads=1),
        stop=StopFlag(),
        console=Console(quiet=True),
    )


@contextmanager
def built(
    images: Path, output: Path, recipe: Recipe = RECIPE, world: World | None = None, **site: Any
) -> Iterator[Fit]:
    """A run in its directory, begun or gone on with, ready for its next step (collective)."""
    made = context(images, output, recipe, world, **site)
    made.run.make()
    with ExitStack() as stack:
        hold = take_hold(made.runtime, made.site, made.stop, stack)
        made = replace(made, recipe=own_recipe(recipe, made.runtime, made.site))
        yield build.build(made, list_images(made), hold, stack, open_telemetry)
    made.runtime.close()


def ask_to_stop(stop: StopFlag) -> None:
    """Send a signal to this process, which is listened to for that long alone."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        stop.install()
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop.is_set


def weights(parts: Fit) -> dict[str, torch.Tensor]:
    """A copy of all that the networks of a run hold."""
    networks = zip(("model", "ema"), parts.state.networks, strict=False)
    return {f"{kind}.{name}": value.clone() for kind, net in networks for name, value in net.state_dict().items()}


def records(output: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in metrics.jsonl."""
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def together(work: Callable[..., Any], *arguments: Any, size: int = 2) -> list[Any]:
    """What `work(world, *arguments)` gives in each process of a group; a function of a module, so that it is found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worlds = [World(rank, size, rank, size, port=port, launcher="torchrun") for rank in range(size)]
    pipes = [_PROCESSES.Pipe(duplex=False) for _ in worlds]
    processes = [
        _PROCESSES.Process(target=_work, args=(sender, work, world, *arguments), daemon=True)
        for world, (_, sender) in zip(worlds, pipes, strict=True)
    ]
    for process, (_, sender) in zip(processes, pipes, strict=True):
        process.start()
        sender.close()
    found: dict[Connection, Any] = {}
    try:
        while len(found) < size:
            for receiver in wait([receiver for receiver, _ in pipes if receiver not in found]):
                assert isinstance(receiver, Connection)
                found[receiver] = pickle.loads(receiver.recv_bytes())  # EOFError: it ended before, and said why
    finally:
        for process in processes:
            process.join(10 if len(found) == size else 0)
            process.kill()
    return [found[receiver] for receiver, _ in pipes]


def _work(sender: Connection, work: Callable[..., Any], world: World, *arguments: Any) -> None:
    torch.set_num_threads(1)
    sender.send_bytes(pickle.dumps(work(world, *arguments)))  # tensors in it too, whatever becomes of this process
