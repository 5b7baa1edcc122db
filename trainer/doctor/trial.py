"""Measures a run, then other settings for it, and tries the first advice by the same function."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter
from typing import get_args

import torch

from data.load import backends
from data.types import Backend
from trainer import devices
from trainer.doctor.advice import Trial, Visit, advise
from trainer.doctor.bound import Change, Figures, Pace
from trainer.doctor.measurements import in_turns, measure, together, train, warm
from trainer.doctor.rig import Rig, build_fit, sample
from trainer.engine.fit import Fit
from trainer.engine.memory import advising, fitted, is_short
from trainer.peers import on_main
from trainer.recipe.checks import recipe_problems, world_problems
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime, lost_contact
from trainer.world import World

_SHARES = 30  # measurements in the whole time
_END = 0.7  # share of the time after which no other settings are measured
_STEP = 64  # images of a process in a measured step: at least two micro-batches, where the recipe has them
_LARGEST = 1024  # images of a micro-batch, above which there is nothing to gain
_COMPILING_S = 60  # what torch.compile takes at least, of a common network


def visit(recipe: Recipe, site: SiteConfig, world: World, *, draws: bool, tries: bool, seconds: float) -> Visit:
    """Measure, advise and, where it `tries`, try, in about so many seconds (collective).

    Writes to a folder beside `site.output`, and removes it, after SIGTERM too. If it `draws`, it ignores `site.data`.
    """
    end = perf_counter() + _END * seconds
    runtime = Runtime(world, recipe.precision, site.threads, deterministic=site.deterministic)
    if site.numa:
        runtime.keep_near()
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        site = _placed(site, runtime, stack, draws=draws)
        if site.accumulate == "auto":
            recipe = fitted(recipe, runtime, channels_last=site.channels_last)
        stack.enter_context(advising(recipe))
        images, whole = sample(recipe, site, runtime, draw=draws), recipe.accumulation(world.world_size)
        passes, seconds = min(whole, max(2, _STEP // recipe.micro_batch)), seconds / _SHARES
        rig = Rig(recipe=recipe, site=site, runtime=runtime, sample=images, seconds=seconds, passes=passes)
        rig.say("first steps")
        fit, still = warm(rig, stack)
        figures = with_changes(rig, fit, measure(rig, fit, still, stack), end)
        advice = advise(figures)
        first = next((one.change for one in advice if one.can_be_tried and tries), None)
        trial = tried(rig, fit, first, figures) if first else None
    runtime.close()
    return Visit(
        figures, advice, trial, [images.source, f"a step was measured with {passes} of its {whole} micro-batches"]
    )


def with_changes(rig: Rig, fit: Fit, figures: Figures, end: float) -> Figures:
    """The figures with those of other settings, measured until `end` (collective)."""
    rig.say("other settings")
    changes, untried = list[Change](), list(figures.untried)
    for change in candidates(rig, figures):
        compiles = change.kind == "compile"
        if rig.runtime.any(perf_counter() + _COMPILING_S * compiles > end):
            untried.append(f"{change.flags}: there was no time left; --seconds gives more")
            continue
        other, begun = rig.changed(change), perf_counter()
        try:
            with ExitStack() as stack:
                built = _begun(other, stack)
                took_s = torch.tensor((perf_counter() - begun) * compiles, device=rig.runtime.device)
                now, then = _compared((rig, fit), (other, built), rounds=1)
        except (RuntimeError, MemoryError) as error:
            untried.append(f"{change.flags}: {_reason(error, compiles=compiles)}")
            continue
        # compiling pays where the rest of the run is long
        took_s = rig.runtime.gather(took_s).amax().item()  # of the slowest process
        once = took_s * figures.place.world_size / (rig.recipe.epochs * figures.images["train"])
        seconds = figures.together.seconds * then.seconds / now.seconds + once
        changes.append(replace(change, seconds=seconds))
    return replace(figures, changes=tuple(changes), untried=tuple(untried))


def candidates(rig: Rig, figures: Figures) -> Iterator[Change]:
    """Other settings whose effect cannot be predicted; those first that most often help."""
    recipe, place, device = rig.recipe, figures.place, rig.runtime.device
    for size in larger_passes(recipe, place.world_size)[-1:]:
        yield Change("micro_batch", f"--micro-batch {size}", recipe={"micro_batch": size})
    if not place.gpu and place.own_cores != place.threads:
        yield Change("threads", f"--threads {place.own_cores}", site={"threads": place.own_cores})
    for loader in get_args(Backend) if figures.load.seconds > figures.step.seconds else ():
        if loader != place.backend and backends.problem(loader, rig.sample.train, device) is None:
            yield Change("loader", f"--loader {loader}", site={"loader": loader})
    if recipe.precision in ("fp32", "tf32"):
        yield Change("precision", "--precision bf16", recipe={"precision": "bf16"})
    if recipe.compile == "off" and not rig.runtime.any(bool(devices.toolchain_problems(gpu=place.gpu))):
        yield Change("compile", "--compile default", recipe={"compile": "default"})


def larger_passes(recipe: Recipe, world_size: int) -> list[int]:
    """Rising micro-batch sizes above the recipe's, up to 16 times it, that divide its `global_batch`."""
    most = min(recipe.global_batch // world_size, 16 * recipe.micro_batch, _LARGEST)
    sizes = [replace(recipe, micro_batch=size) for size in range(recipe.micro_batch + 1, most + 1)]
    return [one.micro_batch for one in sizes if not recipe_problems(one) and not world_problems(one, world_size)]


def tried(rig: Rig, fit: Fit, change: Change, figures: Figures) -> Trial | None:
    """Measure a change and the run as it is in turns (collective); None: it does not fit into memory."""
    rig.say(f"trying {change.flags}")
    other = rig.changed(change)
    try:
        with ExitStack() as stack:
            pair = _compared((rig, fit), (other, _begun(other, stack)), rounds=3)
    except (RuntimeError, MemoryError) as error:
        _reason(error, compiles=False)
        return None
    before, after = (figures.place.world_size / pace.seconds for pace in pair)
    predicted = figures.together.seconds / change.seconds if change.seconds else 1.0
    return Trial(change.flags, before, after, after / before, predicted)


def _begun(rig: Rig, stack: ExitStack) -> Fit:
    """A run after its first steps, which are slow (collective)."""
    built = build_fit(rig, stack)
    train(built, 2)
    built.train_loader.close()
    return built


def _compared(now: tuple[Rig, Fit], other: tuple[Rig, Fit], rounds: int) -> list[Pace]:
    return in_turns(now[0].runtime, rounds, lambda: together(*now), lambda: together(*other))


def _reason(error: Exception, *, compiles: bool) -> str:
    """Why a change could not be measured; raises the error where that is none."""
    if is_short(error):
        return "does not fit into memory"
    if compiles and not (isinstance(error, RuntimeError) and lost_contact(error)):
        first, _, _ = str(error).strip().partition("\n")
        return f"cannot be compiled: {first[:100]}"
    raise error


def _placed(site: SiteConfig, runtime: Runtime, stack: ExitStack, *, draws: bool) -> SiteConfig:
    """The site with a folder of the doctor's own, which `stack` removes (collective)."""
    folder = site.output.with_name(f".doctor-{runtime.world.address}-{runtime.world.port or os.getpid()}")

    def make() -> None:
        folder.mkdir()
        stack.callback(shutil.rmtree, folder)

    on_main(runtime, make, OSError)
    return replace(site, output=folder, data=folder / "images" if draws else site.data)
