"""A recipe tried in minutes: every phase of it for a few steps, on a few of the images. Standard library only."""

from dataclasses import replace

from data.plan.config import InputConfig
from trainer.optim.config import AnySchedule, PiecewiseScheduleConfig, StepScheduleConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.schedule import peak

EPOCHS = 1
STEPS = 8  # optimizer steps an epoch, where there are images enough
EVALUATED = 256  # images
HIGHEST_LR = 1e-3


def tried(recipe: Recipe, site: SiteConfig) -> Recipe:
    """What `--smoke` makes of a recipe: all its epochs in one; without the flag the recipe as it is.

    What is counted in epochs keeps its share of the run, so that each phase comes: warm-up, milestones, growing images.
    The learning rate is at most 0.001: so short a warm-up would let it diverge. Batches, sizes and everything else
    stay, so that what fails in the run fails here. Done twice it changes nothing.
    """
    if not site.smoke:
        return recipe
    epochs = min(recipe.epochs, EPOCHS)
    share, steps = epochs / recipe.epochs, epochs * STEPS
    recipe = _tame(recipe)
    return replace(
        recipe,
        epochs=epochs,
        schedule=_schedule(recipe.schedule, share, steps),
        input=_input(recipe.input, share),
        ema=replace(recipe.ema, every=min(recipe.ema.every, 2)) if recipe.ema.decay else recipe.ema,
        precise_bn=min(recipe.precise_bn, STEPS * recipe.global_batch),
    )


def images(recipe: Recipe, split: str) -> int:
    """How many images of a split `--smoke` takes, spread over all of it."""
    return STEPS * recipe.global_batch if split == "train" else EVALUATED


def _tame(recipe: Recipe) -> Recipe:
    """The recipe with learning rates that change next to nothing."""
    top, schedule = peak(recipe), recipe.schedule
    if top <= HIGHEST_LR * 1.001:  # done already
        return recipe
    factor = HIGHEST_LR / top
    if final_lr := getattr(schedule, "final_lr", None):
        schedule = replace(schedule, **{"final_lr": final_lr * factor})
    return replace(recipe, schedule=schedule, optimizer=replace(recipe.optimizer, lr=recipe.optimizer.lr * factor))


def _schedule(schedule: AnySchedule, share: float, steps: int) -> AnySchedule:
    warmup = {
        "warmup_epochs": schedule.warmup_epochs * share,
        "warmup_steps": min(schedule.warmup_steps, max(1, steps // 2)),
    }
    match schedule:
        case StepScheduleConfig():
            # on a step each, so that none falls behind the last one
            at = {max(1, int(epoch * share * STEPS)) / STEPS for epoch in schedule.milestones}
            return replace(schedule, **warmup, milestones=tuple(sorted(at)))
        case PiecewiseScheduleConfig():
            return replace(schedule, points=tuple(epoch * share for epoch in schedule.points))
        case _:
            return replace(schedule, **warmup)


def _input(config: InputConfig, share: float) -> InputConfig:
    begin, end = config.growth_epochs
    return replace(config, growth_epochs=(begin * share, end * share))
