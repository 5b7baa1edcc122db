"""Checkpoints: what one takes by itself, and what it takes from training."""

import math
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter, process_time

from trainer.doctor import parts, stretch
from trainer.doctor.figures import Saving
from trainer.doctor.machine import disk_name
from trainer.doctor.measures import Rig, settle
from trainer.keep import files
from trainer.loop import save

_BESIDE = 1.5  # times as long as its write by itself takes: beside training it takes longer
_PATIENCE = 4  # stretches, the longest that training beside one may take
_TURNS = (False, True, True, False)  # with checkpoints or without
_SAVES = 2  # checkpoints, after a first one that takes fresh memory


def saving(rig: Rig, stack: ExitStack) -> Saving | str:
    """A checkpoint by itself, or why none could be written (collective)."""
    fit, saver = parts.saving(rig.still, stack)
    holds: list[float] = []
    writes: list[tuple[float, float]] = []
    for _ in range(1 + _SAVES):
        stretch.train(replace(fit, keeper=rig.fit.keeper), steps=1, seconds=0)  # another step, another checkpoint
        begin, used = perf_counter(), process_time()
        save(fit)
        held, used_to_hold = perf_counter() - begin, process_time() - used
        if saver:
            saver.finish()
        holds.append(held)
        writes.append((saver.write_s or 0.0 if saver else 0.0, process_time() - used - used_to_hold))
    failure = saver.failure if saver else None
    if rig.runtime.any(failure is not None):
        return failure or "rank 0 could not write a checkpoint"
    folder = fit.setup.run.checkpoints
    size = files.bytes_of(files.newest_first(folder)[0]) if saver else 0
    least = [min(holds[1:]), *map(min, zip(*writes[1:], strict=True)), size]
    hold_s, write_s, cpu_s, size = stretch.agreed(rig.runtime, *least)[0]
    return Saving(hold_s=hold_s, write_s=write_s, write_cpu_s=cpu_s, bytes=int(size), disk=disk_name(folder.parent))


def saving_cost(rig: Rig, found: Saving, step_s: float, stack: ExitStack) -> Saving:
    """The same with what one takes from training that goes on beside its write (collective).

    Training with one and without takes turns, and their ratio counts: a machine that slows down meanwhile slows both.

    Args:
        rig: The run.
        found: A checkpoint by itself.
        step_s: Seconds of a measured step.
        stack: Waits for the last one.
    """
    steps = 1 + math.ceil(_BESIDE * found.write_s / step_s)
    if steps * step_s > _PATIENCE * rig.seconds:
        return found
    fit, saver = parts.saving(rig.fit, stack)
    taken: dict[bool, float] = {True: 0.0, False: 0.0}
    for saves in _TURNS:
        settle(rig, rig.fit)
        begin = perf_counter()
        if saves:
            save(fit)
        stretch.train(rig.fit, steps=steps, seconds=0)
        taken[saves] += perf_counter() - begin
        rig.fit.train_loader.close()
        if saver:
            saver.finish()
    slow, quick = stretch.agreed(rig.runtime, taken[True], taken[False])[0]
    return replace(found, cost_s=max(found.hold_s, (slow / quick - 1) * steps * step_s))
