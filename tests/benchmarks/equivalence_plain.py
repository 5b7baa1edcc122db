"""The recipe that our trainer and the plain PyTorch script share, and the script's flags. Loads no torch."""

from data.plan.config import InputConfig
from models.config import ModelConfig
from tests.benchmarks.equivalence_runs import LOG_EVERY, Run, Study, alone, finish, read
from trainer.optim.config import CosineScheduleConfig, LossConfig, SgdConfig, StepScheduleConfig
from trainer.recipe.config import Recipe

IMAGE_SIZES = {"resnet20": 32, "resnet18": 64}
EPOCHS = {"resnet20": 12, "resnet18": 6}
LEAST_AREA = 0.6


def recipe(study: Study) -> Recipe:
    """What both follow: for CIFAR's network steps of the learning rate, for the other a cosine and label smoothing."""
    warmup = 1 if study.epochs > 1 else 0
    steps = StepScheduleConfig(milestones=(study.epochs * 0.7, study.epochs * 0.9), warmup_epochs=warmup)
    small = study.network == "resnet20"
    exact = study.crop == "padded"  # images that have the network's size are evaluated whole
    return Recipe(
        model=ModelConfig(name=study.network, num_classes=study.images.classes),
        input=InputConfig(
            train_size=study.image_size,
            crop=study.crop,
            crop_area=(LEAST_AREA, 1.0),
            eval_resize=study.image_size if exact else study.image_size * 9 // 8,
            eval_crop=study.image_size,
        ),
        optimizer=SgdConfig(lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=steps if small else CosineScheduleConfig(warmup_epochs=warmup),
        loss=LossConfig(label_smoothing=0.0 if small else 0.1),
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
    output = study.folder / f"{study.network}-{seed}.jsonl"
    optimizer, schedule = plan.optimizer, plan.schedule
    assert isinstance(optimizer, SgdConfig)  # so `recipe` makes it
    flags = {
        "--data": study.images.root,
        "--output": output,
        "--network": study.network,
        "--size": study.image_size,
        "--resize": plan.input.eval_resize,
        "--crop": study.crop,
        "--least-area": LEAST_AREA,
        "--epochs": study.epochs,
        "--batch": study.batch,
        "--lr": optimizer.lr,
        "--momentum": optimizer.momentum,
        "--weight-decay": optimizer.weight_decay,
        "--warmup": schedule.warmup_epochs,
        "--label-smoothing": plan.loss.label_smoothing,
        "--seed": seed,
        "--threads": study.threads,
        "--log-every": LOG_EVERY,
    }
    milestones = ["--milestones", *schedule.milestones] if isinstance(schedule, StepScheduleConfig) else []
    seconds = finish(study.script.name, [study.script, *milestones], flags, alone(study.threads))
    return read(output, seconds)
