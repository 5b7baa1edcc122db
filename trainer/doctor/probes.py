"""What other settings would give: each tried alone, as far as there is time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import get_args

from data import dataset
from data.config import Backend
from data.load import backends
from data.manifest import Manifest
from data.types import Batch
from trainer import build
from trainer.checks import recipe_problems, world_problems
from trainer.config import Recipe
from trainer.doctor import model, packing, stretch
from trainer.doctor.figures import Change, Pace, Passes
from trainer.doctor.images import cycled, taken
from trainer.doctor.measures import FILLING, Rig, loading, stepped, together
from trainer.doctor.parts import Way, build_fit
from trainer.images import aside
from trainer.memory import is_short

COMPILE_S = 180.0  # the first step of a compiled network takes a minute

_FACTOR = 16  # times the size of a pass: the farther the two that are measured, the better they tell its fixed cost
_LARGEST = 1024


class UntriedError(Exception):
    """Something cannot be tried here; the message says why."""


@dataclass(slots=True)
class Found:
    """What came of it."""

    changes: list[Change] = field(default_factory=list[Change])
    passes: Passes | None = None
    untried: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the tries are compared with."""

    rig: Rig
    load: Pace
    step: Pace
    local: Pace
    """The step, its gradients this process's own."""
    own_cores: int
    folder: Path
    """For whatever is written on the way."""
    end: float
    """When to stop trying, on time.perf_counter."""
    seconds: float
    """As the user gave it."""


def probe(known: Known) -> Found:
    """Try what may be worth it, in the order in which it is likely to be (collective)."""
    found, late, recipe = Found(), list[str](), known.rig.way.recipe
    on_cpu, waits = known.rig.runtime.device.type != "cuda", known.load.seconds > known.step.seconds
    tries = (
        _Try("other sizes of pass", bool(_sizes(known.rig)), _micro_batch, always=True),
        _Try(
            "another number of threads", on_cpu and known.own_cores != known.rig.runtime.threads, _threads, always=True
        ),
        _Try("other loaders", bool(_other_loaders(known.rig)), _loaders, always=waits),
        _Try("smaller copies of the images", not known.rig.way.sample.raw, _packed, always=waits),
        _Try("--precision bf16", recipe.precision in ("fp32", "tf32"), _precision),
        _Try("--channels-last", not known.rig.way.site.channels_last, _channels_last),
        _Try("--compile default", recipe.compile == "off" and known.seconds >= COMPILE_S, _compiled),
    )
    for one in tries:
        if one.applies and not one.always and known.rig.runtime.any(perf_counter() > known.end):
            late.append(one.name)
        elif one.applies:
            _attempt(one, known, found)
    if late:
        found.untried.append(f"{', '.join(late)}: there was no time left; --seconds {2 * known.seconds:g} may do")
    if recipe.compile == "off" and known.seconds < COMPILE_S:
        found.untried.append(f"--compile default: its first step takes a minute; --seconds {COMPILE_S:g} tries it")
    return found


@dataclass(frozen=True, slots=True)
class _Try:
    name: str
    applies: bool
    attempt: Callable[[Known], Iterator[Change | Passes]]
    always: bool = False
    """Whatever the time: what goes wrong there costs most."""


def _attempt(one: _Try, known: Known, found: Found) -> None:
    try:
        for result in one.attempt(known):
            if isinstance(result, Passes):
                found.passes = result
            else:
                found.changes.append(result)
    except UntriedError as error:
        found.untried.append(f"{one.name}: {error}")
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        found.untried.append(f"{one.name}: does not fit into memory")


def larger_passes(recipe: Recipe, world_size: int) -> tuple[int, ...]:
    """Sizes of pass above the recipe's in which its `global_batch` can be dealt out, rising."""
    most = min(recipe.global_batch // world_size, _LARGEST)
    sizes = (size for size in range(recipe.micro_batch + 1, most + 1) if recipe.global_batch % size == 0)
    ways = ((size, replace(recipe, micro_batch=size)) for size in sizes)
    return tuple(size for size, way in ways if not world_problems(way, world_size) and not recipe_problems(way))


def with_change(way: Way, change: Change) -> Way:
    """The way under a change of its settings; steps of about as many images."""
    recipe, site = replace(way.recipe, **change.recipe), replace(way.site, **change.site)
    threads = site.threads or way.runtime.threads
    runtime = way.runtime.varied(precision=recipe.precision, threads=threads)
    passes = max(1, way.passes * way.recipe.micro_batch // recipe.micro_batch)
    return replace(way, recipe=recipe, site=site, runtime=runtime, passes=passes)


def _sizes(rig: Rig) -> list[int]:
    """Sizes of pass that can be tried, rising.

    In steps of as many images as were measured, so that what a step takes besides its passes stays the same.
    """
    way, small = rig.way, rig.way.recipe.micro_batch
    sizes = larger_passes(way.recipe, way.runtime.world.world_size)
    fitting = [size for size in sizes if small * way.passes % size == 0]
    return fitting[:1] + [size for size in fitting[1:] if size <= _FACTOR * small]


def _micro_batch(known: Known) -> Iterator[Passes]:
    way, small, sizes = known.rig.way, known.rig.way.recipe.micro_batch, _sizes(known.rig)
    for size in reversed(sizes):
        try:
            large = stepped(with_change(way, _passes_of(size)), _batch_of(known.rig, size), known.rig.seconds)
        except (RuntimeError, MemoryError) as error:
            if is_short(error) and size != sizes[0]:
                continue
            raise
        yield model.fitted(small, known.step.seconds, size, known.step.seconds * _ratio(known, large))
        return


def _passes_of(size: int) -> Change:
    return Change(kind="micro_batch", flags=f"--micro-batch {size}", recipe={"micro_batch": size})


def _batch_of(rig: Rig, size: int) -> Batch:
    """A batch of so many images, those of the rig's again and again."""
    batch = stretch.moved(rig.batch, rig.runtime.device, -(-size // rig.way.recipe.micro_batch))
    parts = {name: getattr(batch, name)[:size] for name in ("images", "targets", "valid", "indices")}
    return replace(batch, **parts)


def _threads(known: Known) -> Iterator[Change]:
    """Without a GPU the network has them too, and the more of both want a core the longer each operation waits."""
    rig, own = known.rig, known.own_cores
    change = Change(kind="threads", flags=f"--threads {own}", site={"threads": own})
    way = with_change(rig.way, change)
    with ExitStack() as stack:
        fit = build_fit(way, stack)
        stretch.train(fit, steps=2, seconds=0)
        yield replace(change, together=stretch.pace(way.runtime, [together(rig, fit)]))


def _precision(known: Known) -> Iterator[Change]:
    yield _stepped(known, Change(kind="precision", flags="--precision bf16", recipe={"precision": "bf16"}))


def _channels_last(known: Known) -> Iterator[Change]:
    yield _stepped(known, Change(kind="channels_last", flags="--channels-last", site={"channels_last": True}))


def _compiled(known: Known) -> Iterator[Change]:
    way, change = known.rig.way, Change(kind="compile", flags="--compile default", recipe={"compile": "default"})
    if problems := build.device_problems(with_change(way, change).recipe, way.runtime.world):
        raise UntriedError(problems[0])
    yield _stepped(known, change)


def _stepped(known: Known, wanted: Change) -> Change:
    """The change with the step that was measured under it."""
    found = stepped(with_change(known.rig.way, wanted), known.rig.batch, known.rig.seconds)
    step, local = known.step, known.local
    return replace(wanted, step=Pace(step.seconds * _ratio(known, found), step.cpu_s * found.cpu_s / local.cpu_s))


def _ratio(known: Known, found: Pace) -> float:
    """Of a step's times, both with gradients that stay in the process."""
    return found.seconds / known.local.seconds


def _other_loaders(rig: Rig) -> list[Backend]:
    images, device = rig.fit.plan.manifest, rig.runtime.device
    current = backends.choose(rig.way.site.loader, images, device, rig.runtime.threads).backend
    every: tuple[Backend, ...] = get_args(Backend)
    return [name for name in every if name != current and backends.problem(name, images, device) is None]


def _loaders(known: Known) -> Iterator[Change]:
    for backend in _other_loaders(known.rig):
        pace = _loaded(known, known.rig.fit.plan.manifest, backend)
        yield Change(kind="loader", flags=f"--loader {backend}", site={"loader": backend}, load=pace)


def _loaded(known: Known, images: Manifest, backend: Backend) -> Pace:
    """The loader alone, with another backend or on other images."""
    rig, runtime = known.rig, known.rig.runtime
    plan = replace(rig.fit.plan, manifest=cycled(images, 4 * rig.fit.plan.global_batch))
    loader = backends.open_loader(
        plan, backend, device=runtime.device, threads=runtime.threads, max_broken=rig.way.site.max_broken
    )
    return stretch.pace(runtime, [loading(runtime, loader, FILLING[backend], rig.seconds)])


def _packed(known: Known) -> Iterator[Change]:
    """A few images as they are, and as smaller copies."""
    rig, way, out = known.rig, known.rig.way, known.folder / packing.FOLDER
    side, images = packing.side_for(way.recipe.input.train_size, way.recipe.input.eval_resize), way.sample.train
    rows = packing.chosen(images)
    if not packing.worthwhile(images, rows, side):
        return
    failure = aside(rig.runtime, lambda: packing.write(taken(images, rows), out, side))
    if rig.runtime.any(failure is not None):
        raise UntriedError(str(failure or "rank 0 could not make them"))
    backend = backends.choose(way.site.loader, images, rig.runtime.device, rig.runtime.threads).backend
    whole, less = (_loaded(known, of, backend) for of in (taken(images, rows), dataset.load(out, out, "train")))
    yield Change(
        kind="pack",
        flags=f"--data OUT, packed by provenet pack DATA OUT --resize {side}",
        load=Pace(known.load.seconds * less.seconds / whole.seconds, known.load.cpu_s * less.cpu_s / whole.cpu_s),
    )
