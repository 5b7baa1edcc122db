"""One process of a doctor's visit, from its parts to its words."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from data.load import backends
from data.progress import QUIET_VARIABLE
from trainer.config import Recipe, SiteConfig
from trainer.doctor import machine, measures, probes, saves, sums
from trainer.doctor.advice import Advice, advise
from trainer.doctor.figures import Figures, Job, Place
from trainer.doctor.images import Sample, sample
from trainer.doctor.measures import Rig, Trio
from trainer.doctor.parts import Way
from trainer.doctor.probes import Known
from trainer.doctor.trial import Trial, try_out
from trainer.images import PeerFailedError
from trainer.memory import advising, fitted
from trainer.runtime import Runtime
from trainer.world import World

STRETCHES = 30  # in the time that is given: seven for the run itself, the rest for what could be and for the trial

_PROBES_END = 0.7  # share of the time after which nothing new is tried but the advice
_PATH_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What the user wants to know."""

    recipe: Recipe
    site: SiteConfig
    """Its output is no folder yet but the place beside which one is made; its data may be None, too."""
    draws: bool
    """Whether images are drawn."""
    seconds: float
    """About how long all may take."""
    tries: bool
    """Whether the first advice is tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """What was found."""

    recipe: Recipe
    """As it was measured, with a micro-batch that fits."""
    figures: Figures
    advice: list[Advice]
    trial: Trial | None
    notes: list[str]
    """What the reader of the figures should know."""


def visit(wish: Wish, world: World) -> Visit:
    """Measure, conclude and try (collective); nothing stays but what is given back.

    Raises:
        KeyboardInterrupt: Asked to end, by SIGTERM too.
        trainer.memory.MemoryShortError: A micro-batch does not fit into memory.
        trainer.images.UnusableDataError: The images cannot be listed.
        PeerFailedError: Rank 0 raises that.
        OSError: Something cannot be read or written.
    """
    recipe, site = wish.recipe, wish.site
    runtime = Runtime(world, recipe.precision, site.threads, deterministic=site.deterministic)
    if site.numa:
        runtime.keep_near()
    with ExitStack() as stack, _ended_by_terminate():
        site = _placed(wish, runtime, stack)
        if site.accumulate == "auto":
            recipe = fitted(recipe, runtime, channels_last=site.channels_last)
        with ExitStack() as parts, advising(recipe):
            examination = _Examination(replace(wish, recipe=recipe, site=site), runtime)
            found = examination.all(parts)
    runtime.close()
    return found


class _Examination:
    """Step by step, each of which says on standard error that it begins."""

    def __init__(self, wish: Wish, runtime: Runtime) -> None:
        self._wish, self._runtime = wish, runtime
        self._begun, self._stretch_s = perf_counter(), wish.seconds / STRETCHES

    def all(self, stack: ExitStack) -> Visit:
        wish = self._wish
        self._say("images")
        images = sample(wish.recipe, wish.site, self._runtime, draw=wish.draws)
        way = Way(recipe=wish.recipe, site=wish.site, runtime=self._runtime, sample=images, passes=1)
        backend = backends.choose(wish.site.loader, images.train, self._runtime.device, self._runtime.threads).backend
        self._say("first steps")
        rig = measures.warm(way, backend, self._stretch_s, stack)
        figures = self._tried(self._run(rig, backend, images, stack), rig)
        advice = advise(figures)
        return Visit(
            recipe=wish.recipe,
            figures=figures,
            advice=advice,
            trial=self._trial(advice, figures, rig),
            notes=[images.says, *_notes(wish.recipe, rig)],
        )

    def _run(self, rig: Rig, backend: str, images: Sample, stack: ExitStack) -> Figures:
        """The run as it would be started."""
        self._say("loader and step, alone and together")
        processes = self._runtime.world.local_world_size
        own = machine.quota(self._runtime.own_cpus, processes)
        found = measures.trio(rig, processes, own)
        self._say("evaluation")
        evaluation, wait = measures.evaluation(rig)
        figures = Figures(
            place=self._place(found, own, backend),
            job=self._job(images),
            load=found.load,
            step=found.step,
            together=found.together,
            evaluation=evaluation,
            evaluation_wait=wait,
            saving=None,
            larger=probes.larger_passes(self._wish.recipe, self._runtime.world.world_size),
        )
        return self._with_saving(figures, rig, stack)

    def _with_saving(self, figures: Figures, rig: Rig, stack: ExitStack) -> Figures:
        self._say("checkpoints")
        found = saves.saving(rig, stack)
        if isinstance(found, str):
            return replace(figures, untried=(f"checkpoints: {found}",))
        step_s = figures.together.seconds * rig.way.passes * rig.way.recipe.micro_batch
        return replace(figures, saving=saves.saving_cost(rig, found, step_s, stack))

    def _tried(self, figures: Figures, rig: Rig) -> Figures:
        """With what could be otherwise."""
        images = figures.job.global_batch / figures.place.world_size
        reduction, local = sums.reduction(rig, self._wish.recipe, figures.step, images)
        self._say("other settings")
        known = Known(
            rig=rig,
            load=figures.load,
            step=figures.step,
            local=local,
            own_cores=self._runtime.own_cpus,
            folder=self._wish.site.output,
            end=self._begun + _PROBES_END * self._wish.seconds,
            seconds=self._wish.seconds,
        )
        found = probes.probe(known)
        return replace(
            figures,
            reduction=reduction,
            changes=tuple(found.changes),
            passes=found.passes,
            untried=(*figures.untried, *found.untried),
        )

    def _trial(self, advice: list[Advice], figures: Figures, rig: Rig) -> Trial | None:
        first = next((one for one in advice if one.on_the_spot), None)
        if first is None or not self._wish.tries:
            return None
        self._say(f"trying {first.change.flags}")
        return try_out(first, figures, rig, self._wish.site.output / "trial")

    def _place(self, found: Trio, own: float, backend: str) -> Place:
        return Place(
            gpu=self._runtime.device.type == "cuda",
            own_cores=self._runtime.own_cpus,
            cores=own,
            left=found.left,
            threads=self._runtime.threads,
            world_size=self._runtime.world.world_size,
            backend=backend,
        )

    def _job(self, images: Sample) -> Job:
        recipe, site = self._wish.recipe, self._wish.site
        return Job(
            images=images.counts["train"],
            evaluated=images.counts["val"] + recipe.precise_bn,
            epochs=recipe.epochs,
            global_batch=recipe.global_batch,
            micro_batch=recipe.micro_batch,
            save_steps=site.save_steps,
            save_minutes=site.save_minutes,
        )

    def _say(self, text: str) -> None:
        if self._runtime.is_main and not os.environ.get(QUIET_VARIABLE):
            sys.stderr.write(f"{perf_counter() - self._begun:5.1f} s  {text}\n")


def _placed(wish: Wish, runtime: Runtime, stack: ExitStack) -> SiteConfig:
    """The site with a folder of the doctor's own, which `stack` removes (collective)."""
    folder, failure = Path(), None
    if runtime.is_main:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix=".doctor-", dir=wish.site.output.parent)))
        except OSError as error:
            failure = error
    if runtime.any(failure is not None):
        raise failure or PeerFailedError
    folder = _told(folder, runtime)
    return replace(wish.site, output=folder, data=folder / "images" if wish.draws else wish.site.data)


def _told(path: Path, runtime: Runtime) -> Path:
    """Rank 0's path, in every rank (collective)."""
    name = str(path).encode() if runtime.is_main else b""
    numbers = torch.tensor([*name, *bytes(_PATH_BYTES - len(name))], dtype=torch.int64, device=runtime.device)
    return Path(bytes(runtime.sum(numbers).tolist()).rstrip(b"\0").decode())


@contextmanager
def _ended_by_terminate() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does: what was written on the way goes first."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _notes(recipe: Recipe, rig: Rig) -> list[str]:
    found: list[str] = []
    whole = recipe.accumulation(rig.runtime.world.world_size)
    if rig.way.passes < whole:
        found.append(f"a step was measured as {rig.way.passes} of its {whole} passes, to take less time")
    if recipe.input.start_size:
        found.append(f"at {recipe.input.train_size} pixels; the run begins with {recipe.input.start_size}")
    return found
