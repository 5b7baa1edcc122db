"""How long a checkpoint holds training, beside the time in which it would write the same by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from data.durable import flush
from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.our_loop import fit_parts
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns
from trainer.checkpoint import store
from trainer.checkpoint.saving import Saver
from trainer.checkpoint.snapshot import tree_bytes
from trainer.engine.fit import Fit
from trainer.world import World

GOAL = Goal("at most", 0.05)
MS, MB = 1e3, 1e6


def measure(task: LoopTask, config: BenchConfig) -> list[Pair]:
    """Second and later saves, in turns with synchronous ones into another folder of the same disk."""
    with ExitStack() as stack:
        parts = fit_parts(task, World(), stack)
        _fill(parts)
        tree = parts.state.tree(parts.keeper.rows(), {"name": task.network})
        saver = Saver(task.folder / "behind", parts.context.site, guard=lambda: None)
        stack.callback(saver.finish)
        ways = (
            partial(_behind, saver, count(1), tree, parts.context.runtime.device),
            partial(_seconds, lambda: store.write(task.folder / "synchronous", 0, tree)),
            partial(_seconds, lambda: _torch_save(tree, task.folder / "state.pt")),
        )
        in_turns(ways, 1)  # the first snapshot takes fresh memory
        found = [[MS * seconds for seconds in turns] for turns in in_turns(ways, config.rounds)]
    what = f"{task.network} with SGD's momentum, {tree_bytes(tree) / MB:.0f} MB"
    return [
        compare(f"a checkpoint's stall against its synchronous write: {what}", "ms", found[0], found[1], GOAL),
        compare("the same against torch.save and fsync, without hashes", "ms", found[0], found[2]),
    ]


def _behind(saver: Saver, steps: Iterator[int], tree: dict[str, Any], device: torch.device) -> float:
    """Seconds that training gives for a checkpoint whose write goes on behind it.

    On a GPU from the snapshot's begin until the next step's first kernel could run: the copies are only queued by then.
    """
    if device.type != "cuda":
        saver.begin(next(steps), tree)
        saver.finish()
        assert saver.stall_s is not None
        return saver.stall_s
    torch.cuda.synchronize(device)
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    saver.begin(next(steps), tree)
    ended.record()
    saver.finish()
    ended.synchronize()
    return begun.elapsed_time(ended) / MS


def _fill(parts: Fit) -> None:
    """Momenta for all weights, as after a step."""
    for weight in parts.state.model.parameters():
        weight.grad = torch.zeros_like(weight)
    parts.state.optimizer.step()
    parts.state.optimizer.zero_grad()


def _torch_save(tree: object, file: Path) -> None:
    with file.open("wb") as stream:
        torch.save(tree, stream)
        flush(stream)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
