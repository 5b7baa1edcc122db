"""How long a checkpoint holds training on a GPU, and what it holds."""

from collections.abc import Iterator
from contextlib import ExitStack

import torch

from tests.benchmarks.config import LoopTask
from tests.benchmarks.our_loop import fit_parts
from tests.gpu.speed import pairs
from tests.gpu.stage import Check, Stage
from tests.system.running import same_bits
from trainer.checkpoint import store
from trainer.engine.loop import save, train_epoch
from trainer.world import World

STALL_MS = 20


def checkpoints(stage: Stage) -> Iterator[Check]:
    """How long a checkpoint holds the training stream, and whether it holds the state of its own step."""
    stall = pairs(stage, "stall")[0]
    figure = f"{stall.ours:.1f} ms; written by itself {stall.theirs:,.0f} ms"
    yield Check(what=stall.what, figure=figure, goal=f"at most {STALL_MS} ms", passed=stall.ours <= STALL_MS)
    with ExitStack() as stack:
        parts = fit_parts(_task(stage), World(), stack)
        copies = {}
        for _ in range(3):
            train_epoch(parts)
            save(parts)  # only queues the copies on a GPU, and the next steps change the weights behind them
            copies[parts.state.step] = {name: value.clone() for name, value in parts.state.model.state_dict().items()}
        train_epoch(parts)
        parts.keeper.finish()
        stored = store.load_newest(parts.context.run.checkpoints)
    assert stored
    expected = {name: value.cpu() for name, value in copies[stored["step"]].items()}
    same = stored["step"] == max(copies) and same_bits(expected, stored["model"])
    yield Check(
        what="a checkpoint holds the weights of its step", figure="yes" if same else "no", goal="yes", passed=same
    )


def _task(stage: Stage) -> LoopTask:
    size = stage.size
    return LoopTask(
        loop="ours",
        network=size.network,
        num_classes=1000,
        image_size=size.side,
        batch=size.batch,
        steps=5,
        precision="bf16",
        channels_last=True,
        threads=torch.get_num_threads(),
        folder=stage.folder / "saved",
    )
