from dataclasses import replace
from typing import Any

import pytest

from data.plan.config import AugmentConfig, InputConfig
from trainer.optim.config import (
    AdamWConfig,
    CosineScheduleConfig,
    EmaConfig,
    LambConfig,
    LarsConfig,
    LinearScheduleConfig,
    LossConfig,
    MixingConfig,
    PiecewiseScheduleConfig,
    PolynomialScheduleConfig,
    RmspropTfConfig,
    SgdConfig,
    StepScheduleConfig,
    TimmConfig,
)
from trainer.recipe.checks import batch_warnings, compile_problems, crop_note, recipe_problems, world_problems
from trainer.recipe.config import Recipe


@pytest.mark.parametrize(
    ("whole", "optimizer", "scaled"),
    [
        (256, SgdConfig(lr=0.1), None),
        (1024, SgdConfig(lr=0.1), "0.4"),
        (64, AdamWConfig(lr=1e-3), "0.00025"),
        (1024, SgdConfig(lr=0.4), None),  # the user has thought of it
        (1024, SgdConfig(lr=0.1, base_batch=256), None),
        (1024, SgdConfig(lr=0.1, weight_decay=0), "0.4"),
    ],
)
def test_a_learning_rate_that_another_batch_does_not_scale_is_warned_of(
    whole: int, optimizer: SgdConfig | AdamWConfig, scaled: str | None
) -> None:
    lr = 0.1 if isinstance(optimizer, SgdConfig) else 1e-3
    stated = Recipe(global_batch=256, optimizer=replace(optimizer, lr=lr, base_batch=None))
    warnings = batch_warnings(replace(stated, global_batch=whole, optimizer=optimizer), stated)
    text = f"optimizer.lr: {lr:g} belongs to a global_batch of 256 and is not scaled to {whole}"
    assert warnings == ([f"{text}; --optimizer.base-batch 256 makes it {scaled}"] if scaled else [])


def test_a_crop_much_smaller_than_the_image_is_warned_of() -> None:
    assert crop_note(Recipe()) == crop_note(Recipe(input=InputConfig(eval_crop=128))) == []
    seen = "input.eval_crop: evaluation sees the middle 64 of 256 px of each image"
    assert crop_note(Recipe(input=InputConfig(eval_crop=64))) == [
        f"{seen}; --input.eval-resize 73 shows nearly all of it"
    ]


@pytest.mark.parametrize(
    ("whole", "micro", "world", "mend"),
    [
        (256, 32, 8, None),
        (256, 32, 1, None),
        (256, 32, 16, "--micro-batch 16"),
        (256, 32, 6, "a --global-batch divisible by 6"),
        (96, 32, 2, "--micro-batch 24"),
    ],
)
def test_a_global_batch_must_be_dealt_out_evenly(whole: int, micro: int, world: int, mend: str | None) -> None:
    found = world_problems(Recipe(global_batch=whole, micro_batch=micro), world)
    assert [problem.split("; use ")[1] for problem in found] == ([mend] if mend else [])


@pytest.mark.parametrize(
    ("mode", "micro", "world", "lowers", "fix"),
    [
        ("reduce-overhead", 32, 1, False, "--micro-batch 256 or 8 processes make it one; --compile max-autotune-no"),
        ("max-autotune", 32, 4, False, "--micro-batch 64 or 8 processes make it one; --compile max-autotune-no"),
        ("reduce-overhead", 256, 1, True, "leave that out; --compile max-autotune-no-cudagraphs"),
        ("reduce-overhead", 256, 1, False, None),
        ("max-autotune", 32, 8, False, None),
        ("max-autotune-no-cudagraphs", 32, 1, True, None),
        ("default", 32, 1, True, None),
        ("off", 32, 1, True, None),
    ],
)
def test_cuda_graphs_take_no_accumulated_gradients(
    mode: Any, micro: int, world: int, lowers: bool, fix: str | None
) -> None:
    found = compile_problems(Recipe(compile=mode, micro_batch=micro), world, lowers=lowers)
    assert len(found) == (fix is not None)
    assert all(problem.startswith(f"compile: {mode} uses CUDA graphs") and str(fix) in problem for problem in found)


@pytest.mark.parametrize(
    ("whole", "micro", "world", "mend"),
    [
        (256, 32, 8, None),
        (256, 32, 4, "--micro-batch 64"),
        (256, 32, 16, "--micro-batch 16"),
        (256, 32, 6, "a --global-batch divisible by 6"),
        (256, 256, 1, None),
    ],
)
def test_sync_bn_needs_the_global_batch_in_one_pass(whole: int, micro: int, world: int, mend: str | None) -> None:
    found = world_problems(Recipe(global_batch=whole, micro_batch=micro, sync_bn=True), world)
    assert [problem.split("; use ")[1] for problem in found] == ([mend] if mend else [])
    assert all(problem.startswith("micro_batch: ") and "sync_bn" in problem for problem in found)


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        (
            Recipe(epochs=3, schedule=CosineScheduleConfig(warmup_epochs=4)),
            "schedule.warmup_epochs: 4 is more than epochs: 3",
        ),
        (
            Recipe(schedule=LinearScheduleConfig(warmup_epochs=5, warmup_steps=100)),
            "schedule.warmup_steps: 100 beside schedule.warmup_epochs: 5; leave one of them out",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(warmup_steps=10)),
            "schedule.warmup_steps: 10, but a piecewise schedule contains its own; leave it out and let "
            "schedule.factors start low",
        ),
        (
            Recipe(optimizer=TimmConfig(method="lionn")),
            "optimizer.method: 'lionn' is no optimizer of timm; did you mean lion or lionc or clion?",
        ),
        (
            Recipe(optimizer=TimmConfig(method="lion", options=("betas",))),
            "optimizer.options: 'betas'; expected NAME=VALUE",
        ),
        (
            Recipe(schedule=CosineScheduleConfig(warmup_lr=0.0)),
            "schedule.warmup_lr: has no effect without schedule.warmup_epochs or warmup_steps",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(warmup="timm")),
            "schedule.warmup: has no effect without schedule.warmup_epochs or warmup_steps",
        ),
        (
            Recipe(schedule=CosineScheduleConfig(warmup_lr=0.2, warmup_steps=5)),
            "schedule.warmup_lr: 0.2 is more than the peak, 0.1",
        ),
        (
            Recipe(mixing=MixingConfig(mixup=0.2, switch=0.5)),
            "mixing.switch: has no effect unless mixing.mixup and mixing.cutmix are both above 0",
        ),
        (
            Recipe(mixing=MixingConfig(probability=0.5)),
            "mixing.probability: has no effect without mixing.mixup or mixing.cutmix",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(points=(0, 5, 10), factors=(0, 1))),
            "schedule.factors: 2 values for 3 schedule.points; give one for each point",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(points=(1, 5), factors=(0, 1))),
            "schedule.points: [1, 5] must rise from 0",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(points=(0, 5, 5), factors=(0, 1, 0))),
            "schedule.points: [0, 5, 5] must rise from 0",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(points=(), factors=())),
            "schedule.points: [] must rise from 0",
        ),
        (
            Recipe(schedule=PiecewiseScheduleConfig(points=(0, 5), factors=(0, 0))),
            "schedule.factors: [0, 0] are all 0, so nothing is learned; give one above 0",
        ),
        (
            Recipe(schedule=PolynomialScheduleConfig(final_lr=0.2)),
            "schedule.final_lr: 0.2 is more than optimizer.lr: 0.1",
        ),
        (
            Recipe(optimizer=SgdConfig(base_batch=512), schedule=CosineScheduleConfig(final_lr=0.06)),
            "schedule.final_lr: 0.06 is more than optimizer.lr: 0.1 * 256 / 512 = 0.05",
        ),
        (
            Recipe(schedule=StepScheduleConfig(milestones=(60, 30))),
            "schedule.milestones: [60, 30] must rise",
        ),
        (
            Recipe(epochs=60, schedule=StepScheduleConfig(milestones=(30, 60))),
            "schedule.milestones: [60] come after the last epoch, as epochs: 60; leave them out, as in "
            "--schedule.milestones 20 40",
        ),
        (
            Recipe(optimizer=SgdConfig(nesterov=True, momentum=0)),
            "optimizer.nesterov: has no effect without momentum; set optimizer.momentum above 0",
        ),
        (
            Recipe(optimizer=LarsConfig(nesterov=True, momentum=0)),
            "optimizer.nesterov: has no effect without momentum; set optimizer.momentum above 0",
        ),
        (
            Recipe(input=InputConfig(augment=AugmentConfig(erasing_fill="noise"))),
            "input.augment.erasing_fill: has no effect without input.augment.erasing",
        ),
        (
            Recipe(input=InputConfig(crop="padded", interpolation="bicubic")),
            "input.interpolation: has no effect with input.crop: padded",
        ),
        (
            Recipe(input=InputConfig(augment=AugmentConfig(policy="randaugment", randaugment_std=0.5))),
            "input.augment.randaugment_std: has no effect without input.augment.policy: randaugment_timm",
        ),
        (
            Recipe(input=InputConfig(augment=AugmentConfig(policy="randaugment_timm", randaugment_magnitude=11))),
            "input.augment.randaugment_magnitude: 11, but that of randaugment_timm is at most 10",
        ),
        (
            Recipe(input=InputConfig(crop="simple", crop_padding=128, start_size=128, growth_epochs=(0, 5))),
            "input.crop_padding: 128 must be less than input.start_size: 128",
        ),
        (
            Recipe(loss=LossConfig(bce_threshold=0.2)),
            "loss.bce_threshold: has no effect without loss.name: bce",
        ),
        (
            Recipe(mixing=MixingConfig(cutmix=1.0), micro_batch=1),
            "micro_batch: 1 leaves no other image to mix an image with; use at least 2, or leave mixing out",
        ),
        (Recipe(ema=EmaConfig(every=4)), "ema.every: has no effect without ema.decay"),
        (Recipe(ema=EmaConfig(warmup=False)), "ema.warmup: has no effect without ema.decay"),
        (Recipe(precise_bn=16), "precise_bn: 16 is less than micro_batch: 32; use at least that, or 0"),
        (Recipe(global_batch=100), "micro_batch: 32 does not divide global_batch: 100; --micro-batch 25 does"),
        (
            Recipe(input=InputConfig(eval_crop=300, eval_resize=256)),
            "input.eval_crop: 300 is more than input.eval_resize: 256",
        ),
        (
            Recipe(input=InputConfig(crop_area=(0.5, 0.1))),
            "input.crop_area: [0.5, 0.1] must be a rising pair",
        ),
        (
            Recipe(input=InputConfig(augment=AugmentConfig(color_jitter=(0, 0, 0, 0.6)))),
            "input.augment.color_jitter: the hue's 0.6 is more than 0.5",
        ),
        (
            Recipe(model=replace(Recipe().model, in_channels=1)),
            "model.in_channels: 1, but the loader returns RGB images; use 3",
        ),
    ],
)
def test_fields_that_do_not_fit_together_are_named_with_the_mend(recipe: Recipe, problem: str) -> None:
    assert recipe_problems(recipe) == [problem]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(optimizer=AdamWConfig(), schedule=CosineScheduleConfig(warmup_steps=10_000)),
        Recipe(optimizer=LambConfig(), schedule=LinearScheduleConfig(warmup_epochs=90)),
        Recipe(optimizer=RmspropTfConfig(), schedule=PiecewiseScheduleConfig(points=(0, 500), factors=(0, 1))),
        Recipe(optimizer=SgdConfig(base_batch=64), schedule=PolynomialScheduleConfig(final_lr=0.4)),
        Recipe(schedule=StepScheduleConfig(milestones=())),
        Recipe(mixing=MixingConfig(mixup=0.1, cutmix=1.0), micro_batch=2),
        Recipe(loss=LossConfig(name="bce", bce_threshold=0.2), ema=EmaConfig(decay=0.99, every=4, warmup=False)),
        Recipe(precise_bn=32, clip_norm=1.0, gradient_compression="fp16", micro_batch=1),
    ],
)
def test_what_fits_together_is_let_through(recipe: Recipe) -> None:
    assert recipe_problems(recipe) == []
    assert world_problems(recipe, 1) == []
