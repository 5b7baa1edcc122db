"""Measures loader, step, both, evaluation, checkpoint and the sum of gradients, each for some seconds."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from time import perf_counter, process_time

import torch
from torch import Tensor

from data.types import Batch
from trainer import gpu
from trainer.checkpoint import files
from trainer.checkpoint.saving import Saver
from trainer.doctor.bound import Figures, Pace, Place, Reduction, Saving
from trainer.doctor.rig import Alarm, Resident, Rig, build_fit
from trainer.engine.boundary import Keeper
from trainer.engine.fit import Fit
from trainer.engine.loop import save, train_epoch
from trainer.engine.validation import evaluate
from trainer.runtime import Runtime

_FIRST = 3  # batches of a new epoch that take longer, and as many that are loaded in advance


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a process did in some time: seconds, CPU seconds of all threads, images."""

    seconds: float
    cpu_s: float
    images: int


def timed(runtime: Runtime, work: Callable[[], int | None]) -> Stretch:
    """Start in all processes at once, and time `work`; it returns a number of images, or None for one (collective)."""
    gpu.wait(runtime.device)
    runtime.any(False)
    begin, used = perf_counter(), process_time()
    images = work() or 1
    gpu.wait(runtime.device)
    return Stretch(perf_counter() - begin, process_time() - used, images)


def in_turns(runtime: Runtime, rounds: int, *runs: Callable[[], Stretch]) -> list[Pace]:
    """Time per image of each run, in its quickest round, as other programs only slow it down (collective).

    In turns, so that what slows the machine down slows all of them. The slowest process counts, and the mean CPU time.
    """
    done = [[run() for run in runs] for _ in range(rounds)]
    costs = [[(one.seconds / one.images, one.cpu_s / one.images) for one in turn] for turn in done]
    rows = runtime.gather(torch.tensor(costs, dtype=torch.float64, device=runtime.device))
    slowest, mean = rows.amax(0)[..., 0].T.tolist(), rows.mean(0)[..., 1].T.tolist()  # by run and round
    return [Pace(*min(zip(*one, strict=True))) for one in zip(slowest, mean, strict=True)]


def warm(rig: Rig, stack: ExitStack, *, distributed: bool = True) -> tuple[Fit, Fit]:
    """A run, and the same on one of its batches, in the device's memory, after its first steps (collective)."""
    fit, device = build_fit(rig, stack, distributed=distributed), rig.runtime.device
    batch = next(iter(fit.train_loader.epoch(0)))
    fit.train_loader.close()
    moved = {name: getattr(batch, name).to(device) for name in ("images", "targets", "valid")}
    still = replace(fit, train_loader=Resident(replace(batch, **moved), fit.plan.batches_per_epoch))
    train(still, 2)
    return fit, still


def measure(rig: Rig, fit: Fit, still: Fit, stack: ExitStack) -> Figures:
    """Measure the run with its own settings (collective)."""
    runtime, world = rig.runtime, rig.runtime.world
    rig.say("loader and step, alone and together")
    runs = (lambda: load(rig, fit), lambda: together(rig, fit), lambda: train(still, 1, rig.seconds))
    alone, both, step = in_turns(runtime, 2, *runs)
    rig.say("evaluation")
    (evaluated,) = in_turns(runtime, 1, lambda: evaluation(rig, fit))
    rig.say("checkpoints")
    saving, on_gpu = checkpoint(rig, fit, still, stack), runtime.device.type == "cuda"
    place = Place(on_gpu, runtime.own_cpus, runtime.threads, world.world_size, rig.backend.backend)
    figures = Figures(place, rig.recipe, rig.site, rig.sample.counts, alone, both, step, evaluated)
    if world.world_size > 1:
        figures = replace(figures, reduction=reduction(rig, figures.step))
    failed = isinstance(saving, str)
    return replace(figures, untried=(f"checkpoints: {saving}",)) if failed else replace(figures, saving=saving)


def train(fit: Fit, steps: int, seconds: float = 0) -> Stretch:
    """Train for at least so many steps and so long (collective)."""
    alarm, runtime, state, last = fit.context.stop, fit.context.runtime, fit.state, fit.state.step + steps
    assert isinstance(alarm, Alarm)
    runtime.use()

    def work() -> int:
        first, end = state.step, perf_counter() + seconds
        alarm.ends = lambda: state.step >= last and perf_counter() >= end
        while not fit.context.should_stop():
            train_epoch(fit)
        return (state.step - first) * fit.plan.batches_per_step * fit.plan.micro_batch

    return timed(runtime, work)


def together(rig: Rig, fit: Fit, first: Callable[[], None] = lambda: None, seconds: float | None = None) -> Stretch:
    """Do `first`, and train with the loader, once it has used up what it made in advance (collective)."""
    if rig.runtime.any(train(fit, 1).seconds < rig.seconds):  # of steps that take long the loader is a small part
        train(fit, math.ceil(2 * _FIRST / fit.plan.batches_per_step))
    held_s = timed(rig.runtime, first).seconds
    done = train(fit, 1, (seconds or rig.seconds) - held_s)
    fit.train_loader.close()
    return replace(done, seconds=held_s + done.seconds)


def load(rig: Rig, fit: Fit) -> Stretch:
    """Take batches from the loader and do nothing with them (collective)."""
    rig.runtime.use()
    batches = chain.from_iterable(map(fit.train_loader.epoch, count()))

    def work() -> int:
        end, images = perf_counter() + rig.seconds, len(next(batches).targets)
        for batch in batches:
            images += len(batch.targets)
            if perf_counter() >= end:
                break
        return images

    for _ in islice(batches, _FIRST):
        pass
    done = timed(rig.runtime, work)
    fit.train_loader.close()
    return done


def evaluation(rig: Rig, fit: Fit) -> Stretch:
    """Evaluate, as much of it as there is time for (collective)."""
    marks = list[tuple[float, float, int]]()

    def stop(batch: Batch, logits: Tensor) -> bool:
        del logits
        gpu.wait(rig.runtime.device)
        marks.append((perf_counter(), process_time(), len(batch.targets)))
        return rig.runtime.any(len(marks) > _FIRST and marks[-1][0] - marks[_FIRST - 1][0] >= rig.seconds)

    for epoch in count():
        if evaluate(rig.runtime, fit.state.networks, fit.eval_loader, fit.normalize, epoch, stop) is None:
            break
    fit.eval_loader.close()
    (begin, used, _), (end, used_then, _) = marks[_FIRST - 1], marks[-1]
    return Stretch(end - begin, used_then - used, sum(images for _, _, images in marks[_FIRST:]))


def checkpoint(rig: Rig, fit: Fit, still: Fit, stack: ExitStack) -> Saving | str:
    """A checkpoint, by itself and beside training, or why none could be written (collective)."""
    context, runtime, times = fit.context, rig.runtime, list[tuple[float, float]]()
    saver = Saver(context.run.checkpoints, context.site, guard=lambda: None) if runtime.is_main else None
    finish = stack.callback(saver.finish if saver else lambda: None)
    saving = replace(fit, keeper=Keeper(context, fit.state, saver, None))
    for _ in range(3):
        train(still, 1)  # as each step has one checkpoint
        held = timed(runtime, lambda: save(saving))
        finish()
        times.append((held.seconds, (saver and saver.write_s) or 0.0))
    failure = saver.failure if saver else None
    if runtime.any(failure is not None):
        return failure or "rank 0 could not write a checkpoint"
    size = files.bytes_of(files.newest_first(context.run.checkpoints)[0]) if saver else 0
    least = map(min, zip(*times[1:], strict=True))  # the first allocates memory
    rows = runtime.gather(torch.tensor([*least, size], dtype=torch.float64, device=runtime.device))
    hold_s, write_s, size = rows.amax(0).tolist()
    lap_s = hold_s + 1.5 * write_s  # beside training a write takes longer

    def lap(first: Callable[[], None]) -> Stretch:
        done = together(rig, fit, first, lap_s)
        finish()
        return done

    without, beside = in_turns(runtime, 2, lambda: lap(lambda: None), lambda: lap(lambda: save(saving)))
    cost_s = max(hold_s, lap_s * (1 - without.seconds / beside.seconds))
    return Saving(hold_s=hold_s, write_s=write_s, cost_s=cost_s, bytes=int(size))


def reduction(rig: Rig, step: Pace) -> Reduction:
    """The sum of all gradients over the processes, and what it adds to a step (collective)."""
    runtime, recipe = rig.runtime, rig.recipe
    with ExitStack() as stack:
        fit, local = warm(rig, stack, distributed=False)
        (alone,) = in_turns(runtime, 1, lambda: train(local, 1, rig.seconds))
    count = sum(weight.numel() for weight in fit.state.model.parameters() if weight.requires_grad)
    dtype = torch.float32 if recipe.gradient_compression == "none" else torch.bfloat16
    values = torch.zeros(count, dtype=dtype, device=runtime.device)
    (summed,) = in_turns(runtime, 4, lambda: timed(runtime, lambda: len(runtime.sum(values)) and 1))
    exposed_s = max(0.0, step.seconds - alone.seconds) * recipe.global_batch / runtime.world.world_size
    return Reduction(seconds=summed.seconds, exposed_s=exposed_s, bytes=values.nbytes)
