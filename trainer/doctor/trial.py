"""Measures a run, then other settings for it, and tries the first advice by the same function."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter
from typing import get_args

from data.load import backends
from data.types import Backend
from trainer.doctor.advice import Trial, Visit, advise
from trainer.doctor.bound import Change, Figures, Pace
from trainer.doctor.measurements import in_turns, measure, together, train, warm
from trainer.doctor.rig import Rig, build_fit, sample
from trainer.engine.fit import Fit
from trainer.engine.memory import advising, fitted, is_short
from trainer.peers import on_main
from trainer.recipe.checks import recipe_problems, world_problems
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World

_SHARES = 30  # measurements in the whole time
_END = 0.7  # share of the time after which no other settings are measured
_STEP = 64  # images of a process in a measured step: at least two micro-batches, where the recipe has them
_LARGEST = 1024  # images of a micro-batch, above which there is nothing to gain


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
        if rig.runtime.any(perf_counter() > end):
            untried.append(f"{change.flags}: there was no time left; --seconds gives more")
        elif pair := _compared(rig, fit, change, rounds=1):
            seconds = figures.together.seconds * pair[1].seconds / pair[0].seconds
            changes.append(replace(change, seconds=seconds))
        else:
            untried.append(f"{change.flags}: does not fit into memory")
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


def larger_passes(recipe: Recipe, world_size: int) -> list[int]:
    """Rising micro-batch sizes above the recipe's, up to 16 times it, that divide its `global_batch`."""
    most = min(recipe.global_batch // world_size, 16 * recipe.micro_batch, _LARGEST)
    sizes = [replace(recipe, micro_batch=size) for size in range(recipe.micro_batch + 1, most + 1)]
    return [one.micro_batch for one in sizes if not recipe_problems(one) and not world_problems(one, world_size)]


def tried(rig: Rig, fit: Fit, change: Change, figures: Figures) -> Trial | None:
    """Measure a change and the run as it is in turns (collective); None: it does not fit into memory."""
    rig.say(f"trying {change.flags}")
    if not (pair := _compared(rig, fit, change, rounds=3)):
        return None
    before, after = (figures.place.world_size / pace.seconds for pace in pair)
    predicted = figures.together.seconds / change.seconds if change.seconds else 1.0
    return Trial(change.flags, before, after, after / before, predicted)


def _compared(rig: Rig, fit: Fit, change: Change, rounds: int) -> list[Pace] | None:
    other = rig.changed(change)
    try:
        with ExitStack() as stack:
            built = build_fit(other, stack)
            train(built, 2)  # which are slow
            built.train_loader.close()
            return in_turns(rig.runtime, rounds, lambda: together(rig, fit), lambda: together(other, built))
    except (RuntimeError, MemoryError) as error:
        if is_short(error):
            return None
        raise


def _placed(site: SiteConfig, runtime: Runtime, stack: ExitStack, *, draws: bool) -> SiteConfig:
    """The site with a folder of the doctor's own, which `stack` removes (collective)."""
    folder = site.output.with_name(f".doctor-{runtime.world.address}-{runtime.world.port or os.getpid()}")

    def make() -> None:
        folder.mkdir()
        stack.callback(shutil.rmtree, folder)

    on_main(runtime, make, OSError)
    return replace(site, output=folder, data=folder / "images" if draws else site.data)
