"""`--smoke`: a recipe scaled down to a run of minutes that passes all its phases. Standard library only."""

from dataclasses import replace

from trainer.optim.config import AnySchedule, PiecewiseScheduleConfig, StepScheduleConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.schedule import peak

EPOCHS = 1
STEPS = 8  # optimizer steps of an epoch, if there are enough images
EVALUATED = 256  # images
HIGHEST_LR = 1e-3


def tried(recipe: Recipe, site: SiteConfig) -> Recipe:
    """The recipe that `--smoke` trains, of one epoch; without the flag the recipe itself.

    Settings in epochs keep their share of the run, so that each phase is passed: warm-up, milestones, growing images.
    The learning rate is at most 0.001, as it could diverge after so short a warm-up. Batches, sizes and everything else
    stay, so that what would fail in the run fails here. Applied twice it changes nothing more.
    """
    if not site.smoke:
        return recipe
    epochs = min(recipe.epochs, EPOCHS)
    share, steps = epochs / recipe.epochs, epochs * STEPS
    recipe = _with_low_lr(recipe)
    return replace(
        recipe,
        epochs=epochs,
        schedule=_schedule(recipe.schedule, share, steps),
        input=replace(recipe.input, growth_epochs=tuple(epoch * share for epoch in recipe.input.growth_epochs)),
        ema=replace(recipe.ema, every=min(recipe.ema.every, 2)) if recipe.ema.decay else recipe.ema,
        precise_bn=min(recipe.precise_bn, STEPS * recipe.global_batch),
    )


def images(recipe: Recipe, split: str) -> int:
    """The number of images of a split that `--smoke` uses, evenly spread over it."""
    return STEPS * recipe.global_batch if split == "train" else EVALUATED


def _with_low_lr(recipe: Recipe) -> Recipe:
    """The recipe with a peak of at most `HIGHEST_LR`."""
    top, schedule = peak(recipe), recipe.schedule
    if top <= HIGHEST_LR * 1.001:  # done already
        return recipe
    factor = HIGHEST_LR / top
    for name in ("final_lr", "warmup_lr"):
        if low := getattr(schedule, name, None):
            schedule = replace(schedule, **{name: low * factor})
    return replace(recipe, schedule=schedule, optimizer=replace(recipe.optimizer, lr=recipe.optimizer.lr * factor))


def _schedule(schedule: AnySchedule, share: float, steps: int) -> AnySchedule:
    warmup = {
        "warmup_epochs": schedule.warmup_epochs * share,
        "warmup_steps": min(schedule.warmup_steps, max(1, steps // 2)),
        "by": None,  # an epoch would have one learning rate
    }
    match schedule:
        case StepScheduleConfig():
            # each on a step, none after the last
            at = {max(1, int(epoch * share * STEPS)) / STEPS for epoch in schedule.milestones}
            return replace(schedule, **warmup, milestones=tuple(sorted(at)))
        case PiecewiseScheduleConfig():
            return replace(schedule, points=tuple(epoch * share for epoch in schedule.points))
        case _:
            return replace(schedule, **warmup)
