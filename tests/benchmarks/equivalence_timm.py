"""The recipe that our trainer and timm's train.py share, and the script's flags. Loads no torch."""

import csv
from dataclasses import replace
from pathlib import Path

from models.config import ModelConfig
from tests.benchmarks.equivalence_runs import Run, Study, alone, finish
from trainer.optim.config import AdamWConfig, CosineScheduleConfig, EmaConfig
from trainer.recipe import recipes
from trainer.recipe.config import Recipe

VIT, ATTO = "timm/test_vit", "timm/convnext_atto"
IMAGE_SIZES = {VIT: 48, ATTO: 48}
EPOCHS = {VIT: 12, ATTO: 6}
LEARNING_RATES = {VIT: 1e-3, ATTO: 5e-4}  # at 2e-3 seeds of convnext_atto disagree
FINAL_LR = 1e-6
WARMUP = 2  # epochs


def recipe(study: Study) -> Recipe:
    """What both follow: our recipe of ConvNeXt, scaled down, without its average of the weights."""
    base, size = recipes.load("convnext_t"), study.image_size
    # magnitude 9 sometimes becomes 10, at which timm keeps 0 bits of a colour, which Pillow 13 refuses
    augment = replace(base.input.augment, randaugment_magnitude=7)
    warmup = {"warmup_epochs": WARMUP, "warmup": "timm", "warmup_lr": FINAL_LR} if study.epochs > WARMUP else {}
    return replace(
        base,
        model=ModelConfig(
            name=study.network,
            num_classes=study.images.classes,
            drop_path=base.model.drop_path,
            img_size=size if study.network == VIT else None,
            options=None if study.network == VIT else base.model.options,
        ),
        input=replace(base.input, train_size=size, eval_resize=size * 9 // 8, eval_crop=size, augment=augment),
        optimizer=replace(base.optimizer, lr=LEARNING_RATES[study.network], no_decay="network"),
        schedule=CosineScheduleConfig(final_lr=FINAL_LR, **warmup),
        ema=EmaConfig(),
        epochs=study.epochs,
        global_batch=study.batch,
        micro_batch=study.batch,
        precision="fp32",
    )


def theirs(study: Study, plan: Recipe, seed: int) -> Run:
    """Train the script by this recipe.

    Raises:
        FailedError: It failed.
    """
    name = f"{plan.model.name.removeprefix('timm/')}-{seed}-theirs"
    where = {
        "--data-dir": study.images.root,
        "--val-split": "val",
        "--seed": seed,
        "--workers": study.threads,
        "--device": "cpu",
        "--output": study.folder,
        "--experiment": name,
    }
    seconds = finish("timm's train.py", [study.script, *flags(plan)], where, alone(study.threads))
    images = sum(1 for _ in (study.images.root / "train").glob("*/*"))
    return read(study.folder / name / "summary.csv", images // study.batch, seconds)


def flags(plan: Recipe) -> list[str]:
    """The recipe as the script takes it. What is not named is the same by default on both sides."""
    optimizer, schedule, augment = plan.optimizer, plan.schedule, plan.input.augment
    assert isinstance(optimizer, AdamWConfig)  # so `recipe` makes them
    assert isinstance(schedule, CosineScheduleConfig)
    pixels = f"img_size={plan.model.img_size}" if plan.model.img_size else None
    given: dict[str, object] = {
        "--model": plan.model.name.removeprefix("timm/"),
        "--num-classes": plan.model.num_classes,
        # --img-size sets that of the images only: the network would keep position embeddings of its own size
        "--model-kwargs": [*filter(None, [pixels]), *(plan.model.options or ())],
        "--drop-path": plan.model.drop_path,
        "--channels-last": (),  # ours by default
        "--img-size": plan.input.train_size,
        "--crop-pct": plan.input.eval_crop / (plan.input.eval_resize + 0.5),  # it rounds the size before the crop down
        "--mean": plan.input.mean,  # its default is the network's own
        "--std": plan.input.std,
        "--interpolation": plan.input.eval_interpolation,
        "--train-interpolation": plan.input.interpolation,  # random by default
        "--aa": f"rand-m{augment.randaugment_magnitude}-mstd{augment.randaugment_std}-inc1",
        "--color-jitter": 0,  # 0.4 by default
        "--reprob": augment.erasing,
        "--remode": "pixel",  # our noise
        "--smoothing": plan.loss.label_smoothing,
        "--mixup": plan.mixing.mixup,
        "--cutmix": plan.mixing.cutmix,
        "--opt": optimizer.name,  # it never decays what the network names: our no_decay
        "--lr": optimizer.lr,
        "--weight-decay": optimizer.weight_decay,
        "--sched-on-updates": (),  # by epoch by default, ours by step
        "--warmup-epochs": int(schedule.warmup_epochs),
        "--warmup-lr": schedule.warmup_lr or 0,
        "--min-lr": schedule.final_lr,
        "--epochs": plan.epochs,
        "--batch-size": plan.global_batch,
    }
    return [str(word) for flag, value in given.items() for word in (flag, *_words(value))]


def _words(value: object) -> list[object] | tuple[object, ...]:
    return value if isinstance(value, list | tuple) else [value]


def read(file: Path, steps: int, seconds: float) -> Run:
    """Its summary.csv, a line for each epoch of so many steps, whose mean loss is there."""
    with file.open(newline="") as stream:
        epochs = list(csv.DictReader(stream))
    return Run(
        losses={steps * (number + 1): float(epoch["train_loss"]) for number, epoch in enumerate(epochs)},
        top1=[float(epoch["eval_top1"]) for epoch in epochs],
        evaluation_losses=[float(epoch["eval_loss"]) for epoch in epochs],
        seconds=seconds,
    )
