"""Loader, step, both, evaluation and checkpoints: each for some seconds, through the parts of the run."""

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from time import perf_counter

from torch import Tensor

from data.types import Batch, Loader
from trainer.doctor import machine, parts, stretch
from trainer.doctor.figures import Pace
from trainer.doctor.machine import Reading
from trainer.doctor.parts import Way, build_fit
from trainer.doctor.stretch import Clocked, Stretch
from trainer.evaluate import evaluate
from trainer.parts import Fit
from trainer.runtime import Runtime

ROUNDS = 2  # of loader, step and both: a machine that slows down meanwhile slows each of them
FILLING = {"threads": 1, "dali": 3, "dali_gpu": 3}  # batches from a new stream until they come at its pace
AHEAD = 3  # batches that it then makes to have them ready, while a slower step trains


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """The run as it would be started, warm."""

    way: Way
    fit: Fit
    """With its loader."""
    still: Fit
    """On one of its batches."""
    batch: Batch
    """That one, on the device."""
    filling: int
    """Batches from a new stream until they come at its pace."""
    step_s: float
    """About what a step takes."""
    seconds: float
    """Of each stretch."""

    @property
    def runtime(self) -> Runtime:
        """This process."""
        return self.way.runtime


@dataclass(frozen=True, slots=True)
class Trio:
    """Loader and step, each alone and together."""

    load: Pace
    step: Pace
    together: Pace
    left: float
    """Cores that other programs left to this process."""


def warm(way: Way, backend: str, seconds: float, stack: ExitStack) -> Rig:
    """Build the run, take its first steps, and settle how many passes of a step are measured (collective)."""
    recipe, world_size = way.recipe, way.runtime.world.world_size
    fit = build_fit(replace(way, passes=1), stack)
    batch = stretch.moved(next(iter(fit.train_loader.epoch(0))), way.runtime.device)
    fit.train_loader.close()
    pass_s = stretch.agreed(way.runtime, _pass_s(parts.resident(fit, batch)))[0][0]
    passes = enough_passes(recipe.accumulation(world_size), pass_s, seconds)
    way = replace(way, passes=passes)
    if passes > 1:
        fit = build_fit(way, stack)
        stretch.train(parts.resident(fit, batch), steps=2, seconds=0)
    still = parts.resident(fit, batch)
    return Rig(
        way=way, fit=fit, still=still, batch=batch, filling=FILLING[backend], step_s=passes * pass_s, seconds=seconds
    )


def enough_passes(whole: int, pass_s: float, seconds: float) -> int:
    """Passes of a measured step: all of the recipe's, or as many as a stretch has time for, but two of several."""
    divisors = [number for number in range(1, whole + 1) if whole % number == 0]
    fitting = [number for number in divisors if number * pass_s <= seconds]
    return max([*fitting[-1:], *divisors[:2][-1:]])


def trio(rig: Rig, processes: int, own: float) -> Trio:
    """Loader, both and step, in turns (collective).

    Args:
        rig: The run.
        processes: Of the run, on this machine.
        own: Cores that are this process's.
    """
    found: list[list[Stretch]] = [[], [], []]
    for turn in range(ROUNDS):
        found[0].append(loading(rig.runtime, rig.fit.train_loader, rig.filling, rig.seconds, turn))
        found[1].append(together(rig))
        found[2].append(stretch.train(rig.still, steps=1, seconds=rig.seconds))
    load, both, step = (stretch.pace(rig.runtime, stretches) for stretches in found)
    left = [machine.left_cores(one.begin, one.end, own, processes) for one in found[1]]
    return Trio(load, step, both, stretch.agreed(rig.runtime, sum(left) / len(left))[1][0])


def together(rig: Rig, fit: Fit | None = None, steps: int = 1) -> Stretch:
    """Train with the loader, from when it has nothing ready that it made before (collective).

    Args:
        rig: The run.
        fit: In another state or way than the rig's own.
        steps: Least steps.
    """
    fit = fit or rig.fit
    settle(rig, fit)
    done = stretch.train(fit, steps=steps, seconds=rig.seconds)
    fit.train_loader.close()
    return done


def settle(rig: Rig, fit: Fit) -> None:
    """Train until the loader has nothing ready that it made before (collective)."""
    steps = math.ceil((rig.filling + AHEAD) / fit.plan.batches_per_step)
    # where a step takes long there is no time for that, and the loader's share in it is small
    stretch.train(fit, steps=steps if steps * rig.step_s <= 2 * rig.seconds else 1, seconds=0)


def loading(runtime: Runtime, loader: Loader, filling: int, seconds: float, epoch: int = 0) -> Stretch:
    """Take batches from the loader and do nothing with them (collective)."""
    runtime.use()
    runtime.any(False)  # all begin together
    batches = chain.from_iterable(loader.epoch(number) for number in count(epoch))
    for _ in islice(batches, filling):
        pass
    runtime.wait()
    begin, images = machine.read(), 0
    for number, batch in enumerate(batches, start=1):
        images += len(batch.targets)
        if number >= 2 and perf_counter() - begin.wall_s >= seconds:
            break
    runtime.wait()
    end = machine.read()
    loader.close()
    return Stretch(begin, end, images)


def evaluation(rig: Rig) -> tuple[Pace, float]:
    """An evaluation, as much of it as there is time for, and the share of it that was waiting (collective)."""
    fit, runtime, loader = rig.fit, rig.runtime, rig.fit.eval_loader
    assert isinstance(loader, Clocked)
    marks: list[tuple[int, float, Reading]] = []

    def stop(batch: Batch, logits: Tensor) -> bool:
        del batch, logits
        if loader.batches >= rig.filling:
            runtime.wait()
            marks.append((loader.images, loader.waited_s, machine.read()))
        return runtime.any(len(marks) > 1 and marks[-1][2].wall_s - marks[0][2].wall_s >= rig.seconds)

    for epoch in count():
        if evaluate(runtime, fit.state.networks, loader, fit.normalize, epoch, stop) is None:
            break
    loader.close()
    (images, waited_s, begin), (images_then, waited_s_then, end) = marks[0], marks[-1]
    done = Stretch(begin, end, images_then - images)
    share = (waited_s_then - waited_s) / done.seconds
    return stretch.pace(runtime, [done]), stretch.agreed(runtime, share)[1][0]


def stepped(way: Way, batch: Batch, seconds: float) -> Pace:
    """A step of another way, its gradients this process's own (collective)."""
    with ExitStack() as stack:
        still = parts.resident(build_fit(way, stack, distributed=False), batch)
        stretch.train(still, steps=2, seconds=0)
        return stretch.pace(way.runtime, [stretch.train(still, steps=1, seconds=seconds)])


def _pass_s(still: Fit) -> float:
    """Seconds of a step of one pass, after those that are slower (collective)."""
    stretch.train(still, steps=2, seconds=0)
    done = stretch.train(still, steps=1, seconds=0.1)
    return done.seconds / done.images * still.plan.micro_batch
