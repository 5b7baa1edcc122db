"""The parts of a run as the doctor builds them: the project's own, on a recipe that learns nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat

from data.load import backends
from data.types import Batch
from trainer import build
from trainer.boundary import Keeper
from trainer.config import Recipe, SiteConfig
from trainer.console import Console
from trainer.doctor.images import Sample
from trainer.doctor.stretch import Alarm, Clocked
from trainer.keep.saving import Saver
from trainer.learn.schedule_config import ConstantScheduleConfig
from trainer.meter import Meter
from trainer.parts import Fit
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.step import Normalize, TrainStep
from trainer.telemetry.profiling import Profiler

EPOCHS = 1_000_000  # more than anyone waits for

_LR = 1e-12  # the arithmetic of a step does not depend on it, and so no recipe diverges


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to run it: settings, and how much of a step is taken."""

    recipe: Recipe
    """The user's, or one with a change."""
    site: SiteConfig
    """The same, its output in a folder of the doctor's own."""
    runtime: Runtime
    sample: Sample
    passes: int
    """Micro-batches of a step; the recipe's own may take too long."""

    @property
    def measured(self) -> Recipe:
        """The recipe as it is trained here: steps of `passes`, at their full size, that change next to nothing."""
        recipe = self.recipe
        return replace(
            recipe,
            epochs=EPOCHS,
            global_batch=recipe.micro_batch * self.passes * self.runtime.world.world_size,
            optimizer=replace(recipe.optimizer, lr=_LR),
            schedule=ConstantScheduleConfig(),
            input=replace(recipe.input, start_size=None, growth_epochs=(0.0, 0.0), drop_last=True),
        )


class Resident:
    """A loader whose epochs are one and the same batch, again and again."""

    def __init__(self, batch: Batch, batches_per_epoch: int) -> None:
        """`batch` is given as it is."""
        self._batch, self.batches_per_epoch = batch, batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The batch, as often as is left of the epoch."""
        del epoch
        return repeat(self._batch, self.batches_per_epoch - first_batch)

    def close(self) -> None:
        """There is nothing to close."""


def build_fit(way: Way, stack: ExitStack, *, distributed: bool = True) -> Fit:
    """A run at its first step, which nothing saves and nothing logs (collective); `stack` closes its loaders.

    Args:
        way: How.
        stack: Closes what has to be closed.
        distributed: False: gradients stay in this process.
    """
    recipe, runtime = way.measured, way.runtime
    runtime.use()
    setup = Setup(recipe=recipe, site=way.site, runtime=runtime, stop=Alarm(), console=Console())
    state = build.train_state(recipe, way.site, runtime)
    normalize = Normalize(recipe.input, runtime.device, channels_last=way.site.channels_last)
    model = build.forward(recipe, state, runtime, normalize) if distributed else state.model
    images = way.sample.filled(4 * recipe.global_batch)
    plans = build.plans(setup, images)
    chosen = backends.choose(way.site.loader, images[0], runtime.device, runtime.threads)
    train_loader, eval_loader = build.loaders(setup, plans, chosen, stack)
    train_step = TrainStep(runtime, model, state, normalize, recipe)
    return Fit(
        setup=setup,
        train_loader=Clocked(train_loader),
        eval_loader=Clocked(eval_loader),
        train_step=train_step,
        normalize=normalize,
        state=state,
        keeper=Keeper(setup, state, None, None),
        plan=plans[0],
        eval_plan=plans[1],
        meter=Meter(setup, plans[0], train_step, state),
        profiler=Profiler(setup, 0, stack),
        telemetry=None,
    )


def resident(fit: Fit, batch: Batch) -> Fit:
    """The same run on a batch that is always there."""
    return replace(fit, train_loader=Resident(batch, fit.plan.batches_per_epoch))


def saving(fit: Fit, stack: ExitStack) -> tuple[Fit, Saver | None]:
    """The same run with its checkpoints, and who writes them (rank 0); `stack` waits for the last one."""
    setup = fit.setup
    saver = Saver(setup.run.checkpoints, setup.site, guard=lambda: None) if setup.runtime.is_main else None
    if saver:
        stack.callback(saver.finish)
    return replace(fit, keeper=Keeper(setup, fit.state, saver, None)), saver
