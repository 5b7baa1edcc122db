"""Real processes that train together, for what becomes of all where one is asked to stop, saves, fails or is killed.

`python -m tests.trainer.ranks SCENARIO ...`: each is a JSON object. They are forked, so that torch is loaded once.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import NoReturn

import torch
import torch._dynamo  # which DDP loads: once, rather than in each rank

from data.types import Batch, Loader
from tests.benchmarks.config import LoopTask
from tests.benchmarks.our_loop import fit_parts
from trainer import hangs, rendezvous
from trainer.checkpoint import files
from trainer.commands.failures import explain
from trainer.engine.fit import Fit
from trainer.engine.loop import fit
from trainer.world import World

STEPS = 6  # of an epoch
SIGNALS = {
    **dict.fromkeys(("stop", "wait", "slow"), signal.SIGTERM),
    "kill": signal.SIGKILL,
    "hang": signal.SIGSTOP,
}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens to which rank."""

    folder: str
    world_size: int
    rank: int
    """Whom it happens to."""
    step: int
    """Steps done before that in which it happens."""
    what: str
    """stop, kill, hang: a signal that asks to stop, kills, or stops all its threads. fail: an error of the loader.
    wait: it does nothing until the others wait for it, then asks to stop. slow: each of its steps until then takes
    150 ms more. full: no save works."""
    save_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """How a rank ended."""

    code: int
    """0 stopped cleanly; -9 killed; else that of the error, 99 where it was not foreseen."""
    step: int
    """Steps done; -1 where it could not say."""


class Struck:
    """A loader with which something happens at a batch; if it `waits`, it gives none while a checkpoint is written."""

    def __init__(self, loader: Loader, strike: Callable[[int], None], *, waits: bool) -> None:
        self._loader, self._strike, self._given, self._waits = loader, strike, count(), waits
        self.batches_per_epoch = loader.batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        for batch in self._loader.epoch(epoch, first_batch):
            self._strike(next(self._given))
            for thread in threading.enumerate():
                if thread.name == "checkpoint" and self._waits:
                    thread.join()
            yield batch

    def close(self) -> None:
        self._loader.close()


def main() -> None:
    """Carry the scenarios out, and print a list of the ends of each."""
    torch.set_num_threads(1)
    found = [carry_out(Scenario(**json.loads(words))) for words in sys.argv[1:]]
    print(json.dumps([[asdict(end) for end in ends] for ends in found]))  # noqa: T201


def carry_out(scenario: Scenario) -> list[End]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids: list[int] = []
    for rank in range(scenario.world_size):
        if (pid := os.fork()) == 0:
            _be(scenario, World(rank, scenario.world_size, rank, scenario.world_size, port=port, launcher="torchrun"))
        pids.append(pid)
    ends: list[End] = []
    for rank, pid in enumerate(pids):
        if (rank, scenario.what) == (scenario.rank, "hang"):
            os.kill(pid, signal.SIGKILL)  # as launchers do, once the others have ended
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = Path(scenario.folder, f"step-of-{rank}")
        ends.append(End(code=code, step=int(said.read_text()) if said.exists() else -1))
    return ends


def _be(scenario: Scenario, world: World) -> NoReturn:
    """This process is a rank from here on."""
    signal.alarm(60)  # what hangs is killed
    hangs.STILL_S, hangs.LOOK_S, hangs.SLOW_POINTS = 0.2, 0.1, 3
    if scenario.what == "hang":
        rendezvous.TIMEOUT = timedelta(seconds=2)
    folder, code = Path(scenario.folder), 99
    try:
        with ExitStack() as stack:
            parts = _parts(scenario, world, stack)
            try:
                fit(parts)
                code = 0
            except Exception as error:
                code = explain(error, world) or 99
                sys.stderr.write(f"rank {world.rank}: {error!r}\n")
            (folder / f"step-of-{world.rank}").write_text(str(parts.state.step))
    finally:
        sys.stderr.flush()
        os._exit(code)


def _parts(scenario: Scenario, world: World, stack: ExitStack) -> Fit:
    task = LoopTask(
        loop="ours" if scenario.what in ("wait", "slow") else "silent",
        network="resnet20",
        num_classes=4,
        image_size=8,
        batch=4,
        steps=STEPS,
        precision="fp32",
        channels_last=True,
        threads=1,
        folder=Path(scenario.folder) / "run",
    )
    site = {"save_steps": scenario.save_steps, "keep_checkpoints": 1000, "save_failure": "stop"}
    parts = fit_parts(task, world, stack, **site)
    parts.context.stop.install()

    def strike(batch: int) -> None:
        if (world.rank, scenario.what) == (scenario.rank, "slow"):
            time.sleep(0.15)
        if (world.rank, batch) == (scenario.rank, scenario.step) and scenario.what != "full":
            if scenario.what == "fail":
                raise OSError("the disk is gone")
            if scenario.what == "wait":
                time.sleep(1)
            os.kill(os.getpid(), SIGNALS[scenario.what])

    if scenario.what == "full" and world.is_main:
        parts.context.run.checkpoints.touch()  # a file, in which no folder can be made
    return replace(parts, train_loader=Struck(parts.train_loader, strike, waits=scenario.what != "slow"))


def saved(folder: Path) -> list[int]:
    """Steps with a whole checkpoint."""
    found = files.newest_first(folder / "run" / "checkpoints")
    return sorted(files.step_of(path) for path in found if files.damage(path) is None)


if __name__ == "__main__":
    main()
