"""Checks of values that are each in range but do not fit together. Standard library only."""

from data.plan.config import TIMM_HIGHEST, InputConfig
from trainer.optim.config import (
    AnySchedule,
    ConstantScheduleConfig,
    EmaConfig,
    LarsConfig,
    PiecewiseScheduleConfig,
    SgdConfig,
    StepScheduleConfig,
)
from trainer.recipe.config import Recipe
from trainer.recipe.names import name_problems
from trainer.recipe.schedule import peak


def recipe_problems(recipe: Recipe) -> list[str]:
    """The recipe's own contradictions, one line each, for the user."""
    problems = [
        *name_problems(recipe),
        *_warmup_problems(recipe.schedule, recipe.epochs),
        *_warmup_lr_problems(recipe),
        *_schedule_problems(recipe),
        *_unused_problems(recipe),
        *_batch_problems(recipe),
        *_input_problems(recipe.input),
    ]
    if recipe.model.in_channels != 3:
        problems.append(f"model.in_channels: {recipe.model.in_channels}, but the loader returns RGB images; use 3")
    return problems


def batch_warnings(recipe: Recipe, stated: Recipe) -> list[str]:
    """What a batch other than the recipe's file states leaves as it is, one line each, for the user."""
    optimizer, whole, usual = recipe.optimizer, recipe.global_batch, stated.global_batch
    if whole == usual or optimizer.base_batch or optimizer.lr != stated.optimizer.lr:
        return []
    unscaled = f"optimizer.lr: {optimizer.lr:g} belongs to a global_batch of {usual} and is not scaled to {whole}"
    return [f"{unscaled}; --optimizer.base-batch {usual} makes it {optimizer.lr * whole / usual:g}"]


def crop_note(recipe: Recipe) -> list[str]:
    """That an evaluation would see but the middle of its images, as where a smaller crop alone was asked for."""
    crop, resize = recipe.input.eval_crop, recipe.input.eval_resize
    seen = f"input.eval_crop: evaluation sees the middle {crop} of {resize} px of each image"
    return [f"{seen}; --input.eval-resize {crop * 8 // 7} shows nearly all of it"] if 2 * crop < resize else []


def world_problems(recipe: Recipe, world_size: int) -> list[str]:
    """Why `global_batch` cannot be divided among this many processes, with values that fit."""
    whole, micro, sync_bn = recipe.global_batch, recipe.micro_batch, recipe.sync_bn

    def fits(size: int) -> bool:
        return whole == size * world_size if sync_bn else whole % (size * world_size) == 0

    if whole % micro or fits(micro):
        return []  # recipe_problems reports the former
    fitting = [size for size in range(1, (whole if sync_bn else micro) + 1) if fits(size)]
    fix = f"--micro-batch {fitting[-1]}" if fitting else f"a --global-batch divisible by {world_size}"
    wrong = f"is not global_batch {whole}, as sync_bn requires" if sync_bn else f"does not divide global_batch {whole}"
    return [
        f"micro_batch: {micro} images on each of {world_size} processes make {micro * world_size} a pass, which "
        f"{wrong}; use {fix}"
    ]


def compile_problems(recipe: Recipe, world_size: int, *, lowers: bool) -> list[str]:
    """Why gradients would be wrong: CUDA graphs overwrite those of earlier micro-batches.

    `lowers`: whether `accumulate: auto` may lower `micro_batch` at the start.

    Reference: pytorch issues 169545 and 96693.
    """
    passes = recipe.accumulation(world_size)
    if recipe.compile not in ("reduce-overhead", "max-autotune") or (passes <= 1 and not lowers):
        return []
    if passes > 1:
        whole, micro = recipe.global_batch, recipe.micro_batch
        why = f"a step has {passes} micro-batches here"
        fix = f" --micro-batch {whole // world_size} or {whole // micro} processes make it one;"
    else:
        why, fix = "--accumulate auto may make a step of several micro-batches", " leave that out;"
    return [
        f"compile: {recipe.compile} uses CUDA graphs, which give wrong gradients where they are accumulated, and {why};"
        f"{fix} --compile max-autotune-no-cudagraphs accumulates correctly"
    ]


def _unused_problems(recipe: Recipe) -> list[str]:
    """Settings that have no effect without another."""
    optimizer, loss, ema, problems = recipe.optimizer, recipe.loss, recipe.ema, list[str]()
    if isinstance(optimizer, SgdConfig | LarsConfig) and optimizer.nesterov and optimizer.momentum == 0:
        problems.append("optimizer.nesterov: has no effect without momentum; set optimizer.momentum above 0")
    if loss.bce_threshold is not None and loss.name != "bce":
        problems.append("loss.bce_threshold: has no effect without loss.name: bce")
    mixing = recipe.mixing
    if mixing.switch is not None and not (mixing.mixup and mixing.cutmix):
        problems.append("mixing.switch: has no effect unless mixing.mixup and mixing.cutmix are both above 0")
    if mixing.probability is not None and not (mixing.mixup or mixing.cutmix):
        problems.append("mixing.probability: has no effect without mixing.mixup or mixing.cutmix")
    if recipe.input.augment.erasing_fill != "mean" and not recipe.input.augment.erasing:
        problems.append("input.augment.erasing_fill: has no effect without input.augment.erasing")
    if ema.decay is None:
        changed = [name for name in ("every", "warmup") if getattr(ema, name) != getattr(EmaConfig(), name)]
        problems += [f"ema.{name}: has no effect without ema.decay" for name in changed]
    return problems


def _warmup_problems(schedule: AnySchedule, epochs: int) -> list[str]:
    in_epochs, in_steps = schedule.warmup_epochs, schedule.warmup_steps
    if isinstance(schedule, PiecewiseScheduleConfig):
        warmups = {"warmup_epochs": in_epochs, "warmup_steps": in_steps}
        fix = "a piecewise schedule contains its own; leave it out and let schedule.factors start low"
        return [f"schedule.{name}: {value}, but {fix}" for name, value in warmups.items() if value]
    if in_epochs and in_steps:
        return [f"schedule.warmup_steps: {in_steps} beside schedule.warmup_epochs: {in_epochs}; leave one of them out"]
    if in_epochs > epochs:
        return [f"schedule.warmup_epochs: {in_epochs} is more than epochs: {epochs}"]
    return []


def _warmup_lr_problems(recipe: Recipe) -> list[str]:
    schedule, top = recipe.schedule, peak(recipe)
    if schedule.warmup_epochs or schedule.warmup_steps:
        low = schedule.warmup_lr is None or schedule.warmup_lr <= top
        return [] if low else [f"schedule.warmup_lr: {schedule.warmup_lr} is more than the peak, {top:g}"]
    unused = [name for name in ("warmup", "warmup_lr") if getattr(schedule, name) is not None]
    return [f"schedule.{name}: has no effect without schedule.warmup_epochs or warmup_steps" for name in unused]


def _schedule_problems(recipe: Recipe) -> list[str]:
    match recipe.schedule:
        case StepScheduleConfig(milestones=milestones):
            return _milestone_problems(list(milestones), recipe.epochs)
        case PiecewiseScheduleConfig():
            return _piecewise_problems(recipe.schedule)
        case ConstantScheduleConfig():
            return []
        case _:
            return _final_lr_problems(recipe, recipe.schedule.final_lr)


def _milestone_problems(milestones: list[float], epochs: int) -> list[str]:
    problems: list[str] = []
    if milestones != sorted(set(milestones)):
        problems.append(f"schedule.milestones: {milestones} must rise")
    if late := [milestone for milestone in milestones if milestone >= epochs]:
        problems.append(
            f"schedule.milestones: {late} come after the last epoch, as epochs: {epochs}; leave them out, "
            f"as in --schedule.milestones {epochs / 3:.3g} {epochs * 2 / 3:.3g}"
        )
    return problems


def _piecewise_problems(schedule: PiecewiseScheduleConfig) -> list[str]:
    points, factors = list(schedule.points), list(schedule.factors)
    if len(points) != len(factors):
        return [f"schedule.factors: {len(factors)} values for {len(points)} schedule.points; give one for each point"]
    if points[:1] != [0] or points != sorted(set(points)):
        return [f"schedule.points: {points} must rise from 0"]
    if not any(factors):
        return [f"schedule.factors: {factors} are all 0, so nothing is learned; give one above 0"]
    return []


def _final_lr_problems(recipe: Recipe, final_lr: float) -> list[str]:
    top, optimizer = peak(recipe), recipe.optimizer
    if final_lr <= top:
        return []
    scaled = f" * {recipe.global_batch} / {optimizer.base_batch} = {top:g}" if optimizer.base_batch else ""
    return [f"schedule.final_lr: {final_lr} is more than optimizer.lr: {optimizer.lr}{scaled}"]


def _batch_problems(recipe: Recipe) -> list[str]:
    micro, problems = recipe.micro_batch, list[str]()
    if recipe.global_batch % micro:
        fitting = next(size for size in range(micro, 0, -1) if recipe.global_batch % size == 0)
        problem = f"micro_batch: {micro} does not divide global_batch: {recipe.global_batch}"
        problems.append(f"{problem}; --micro-batch {fitting} does")
    repeats = recipe.input.augment.repeats
    if micro <= repeats and (recipe.mixing.mixup or recipe.mixing.cutmix):
        least = f"use at least {repeats + 1}, or leave mixing out"
        problems.append(f"micro_batch: {micro} leaves no other image to mix an image with; {least}")
    if 0 < recipe.precise_bn < micro:
        problems.append(f"precise_bn: {recipe.precise_bn} is less than micro_batch: {micro}; use at least that, or 0")
    return problems


def _input_problems(config: InputConfig) -> list[str]:
    problems: list[str] = []
    if config.eval_crop > config.eval_resize:
        problems.append(f"input.eval_crop: {config.eval_crop} is more than input.eval_resize: {config.eval_resize}")
    if config.crop_area[0] > config.crop_area[1]:
        problems.append(f"input.crop_area: {list(config.crop_area)} must be a rising pair")
    if config.augment.color_jitter[3] > 0.5:
        problems.append(f"input.augment.color_jitter: the hue's {config.augment.color_jitter[3]} is more than 0.5")
    if config.augment.policy != "randaugment_timm" and config.augment.randaugment_std:
        problems.append("input.augment.randaugment_std: has no effect without input.augment.policy: randaugment_timm")
    if config.augment.policy == "randaugment_timm" and config.augment.randaugment_magnitude > TIMM_HIGHEST:
        magnitude = config.augment.randaugment_magnitude
        problems.append(
            f"input.augment.randaugment_magnitude: {magnitude}, but that of randaugment_timm is at most {TIMM_HIGHEST}"
        )
    if config.crop == "padded" and config.interpolation != "bilinear" and config.augment.policy != "randaugment_timm":
        problems.append("input.interpolation: has no effect with input.crop: padded")
    smallest = "start_size" if config.start_size else "train_size"
    if config.crop != "resized" and config.crop_padding >= (side := getattr(config, smallest)):
        problems.append(f"input.crop_padding: {config.crop_padding} must be less than input.{smallest}: {side}")
    return problems + _growth_problems(config)


def _growth_problems(config: InputConfig) -> list[str]:
    start, (begin, end) = config.start_size, config.growth_epochs
    if start is None:
        unused = "has no effect without input.start_size"
        return [f"input.growth_epochs: {unused}"] if (begin, end) != (0, 0) else []
    if start >= config.train_size:
        return [f"input.start_size: {start} must be less than input.train_size: {config.train_size}"]
    if begin >= end:
        return [f"input.growth_epochs: {begin} {end} must rise, as in --input.growth-epochs 5 16"]
    return []
