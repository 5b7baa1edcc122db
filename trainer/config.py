"""The recipe (what is learned) and the site (where it runs). Standard library only, so that `--help` loads no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data.config import Backend, InputConfig
from models.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SgdConfig:
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    """Kind of optimizer."""
    lr: float = field(default=0.1, metadata={"above": 0})
    """Peak learning rate, above 0, for this recipe's `global_batch`: nothing scales it."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Share of the last update that is kept: from 0, below 1."""
    nesterov: bool = False
    """Look ahead by the momentum before taking the gradient."""
    weight_decay: float = field(default=1e-4, metadata={"min": 0})
    """L2 penalty, at least 0, added to the gradient."""
    decay_norm_and_bias: bool = True
    """Decay normalisation weights and biases too, as the ResNet paper did; later recipes leave them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepScheduleConfig:
    """Divide the learning rate at fixed epochs."""

    name: Literal["step"] = "step"
    """Kind of schedule."""
    milestones: tuple[float, ...] = field(default=(30.0, 60.0, 80.0), metadata={"above": 0})
    """Epochs, above 0 and rising, at which the learning rate is multiplied by `gamma`."""
    gamma: float = field(default=0.1, metadata={"above": 0, "below": 1})
    """Factor at each milestone: above 0, below 1."""
    warmup_epochs: float = field(default=0.0, metadata={"min": 0})
    """Epochs, at least 0, of linear warm-up from zero (1706.02677, section 2.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineScheduleConfig:
    """Half a cosine from the peak to `final_lr` (1608.03983, without restarts)."""

    name: Literal["cosine"] = "cosine"
    """Kind of schedule."""
    final_lr: float = field(default=0.0, metadata={"min": 0})
    """Learning rate after the last step: at least 0, at most `optimizer.lr`."""
    warmup_epochs: float = field(default=0.0, metadata={"min": 0})
    """Epochs, at least 0, of linear warm-up from zero, before the cosine (1706.02677, section 2.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is learned. The same recipe is the same experiment, wherever it runs."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    input: InputConfig = field(default_factory=InputConfig)
    """What the network sees: sizes, crops, flips, normalisation."""
    optimizer: SgdConfig = field(default_factory=SgdConfig)
    """How a gradient changes the weights."""
    schedule: StepScheduleConfig | CosineScheduleConfig = field(default_factory=CosineScheduleConfig)
    """How the learning rate changes over the run."""
    label_smoothing: float = field(default=0.0, metadata={"min": 0, "below": 1})
    """Share of the target spread evenly over all classes: from 0, below 1 (1512.00567, section 7)."""
    epochs: int = field(default=90, metadata={"min": 1, "max": 1_000_000})
    """Passes over the training set: 1 to 1,000,000."""
    global_batch: int = field(default=256, metadata={"min": 1, "max": 1_000_000})
    """Images per optimizer step, over all processes and accumulated micro-batches: 1 to 1,000,000."""
    micro_batch: int = field(default=32, metadata={"min": 1, "max": 65_536})
    """Images per process and forward pass, over which BatchNorm takes its statistics: 1 to 65,536."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the forward pass: fp32, or bf16 autocast over fp32 weights."""
    channels_last: bool = True
    """Lay images and convolution weights out as NHWC in memory; faster, same mathematics."""
    seed: int = field(default=0, metadata={"min": 0, "below": 2**32})
    """Decides the initial weights, the order of the images, every crop and flip: from 0, below 4,294,967,296."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteConfig:
    """Where it runs. Nothing here changes what is learned."""

    data: Path
    """Folder of the image tree: DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG."""
    output: Path
    """Run directory. One that holds this recipe's run is continued from its last checkpoint."""
    manifests: Path | None = None
    """Folder of the manifests of `python -m data verify`. None: DATA, or where it has none the run makes its own."""
    loader: Backend | None = None
    """What decodes: threads, dali (both on the CPU) or dali_gpu. None: what is fastest here."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of the images that may be broken, from the start or found by a process on its way, 0 to 1."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads per process, 1 to 1,024, also for the model without a GPU. None: its share of the machine's cores."""
    log_every: int = field(default=20, metadata={"min": 1, "max": 1_000_000})
    """Steps between two points of loss, top-1 and throughput in TensorBoard and metrics.jsonl: 1 to 1,000,000."""
    keep_checkpoints: int = field(default=3, metadata={"min": 1, "max": 1_000_000})
    """Newest checkpoints kept in the run directory: 1 to 1,000,000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchConfig:
    """What a training step is timed on: a resident random batch."""

    batch: int = field(default=8, metadata={"min": 2, "max": 4096})
    """Images, 2 to 4,096; BatchNorm needs two."""
    image_size: int | None = field(default=None, metadata={"min": 8, "max": 2048})
    """Side of the images, 8 to 2,048 pixels. None: the paper's."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward pass: fp32, or bf16 autocast over fp32 weights."""
    rounds: int = field(default=11, metadata={"min": 1, "max": 10_000})
    """Turns of each of a pair, 1 to 10,000; medians are shown."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads, 1 to 1,024. None: this machine's cores."""


def recipe_problems(recipe: Recipe) -> list[str]:
    """Values of a recipe that are each in range but do not fit together."""
    found = [*_schedule_problems(recipe), *_batch_problems(recipe), *_input_problems(recipe.input)]
    if recipe.model.in_channels != 3:
        found.append(f"model.in_channels: {recipe.model.in_channels}, but the loader gives RGB images; use 3")
    return found


def world_problems(recipe: Recipe, world_size: int) -> list[str]:
    """Why `global_batch` cannot be dealt out evenly to this many processes, with what would fit."""
    whole = recipe.global_batch
    if whole % recipe.micro_batch or whole % (recipe.micro_batch * world_size) == 0:
        return []
    fitting = [size for size in range(1, recipe.micro_batch + 1) if whole % (size * world_size) == 0]
    mend = f"--micro-batch {fitting[-1]}" if fitting else f"a --global-batch divisible by {world_size}"
    return [
        f"micro_batch: {recipe.micro_batch} images on each of {world_size} processes make "
        f"{recipe.micro_batch * world_size} a pass, which does not divide global_batch {whole}; use {mend}"
    ]


def _schedule_problems(recipe: Recipe) -> list[str]:
    schedule, problems, lr = recipe.schedule, list[str](), recipe.optimizer.lr
    if recipe.optimizer.nesterov and recipe.optimizer.momentum == 0:
        problems.append("optimizer.nesterov: looks ahead by the momentum; set optimizer.momentum above 0")
    if schedule.warmup_epochs > recipe.epochs:
        problems.append(f"schedule.warmup_epochs: {schedule.warmup_epochs} is more than epochs: {recipe.epochs}")
    if isinstance(schedule, CosineScheduleConfig) and schedule.final_lr > lr:
        problems.append(f"schedule.final_lr: {schedule.final_lr} is more than optimizer.lr: {lr}")
    if isinstance(schedule, StepScheduleConfig):
        milestones = list(schedule.milestones)
        if milestones != sorted(set(milestones)):
            problems.append(f"schedule.milestones: {milestones} must rise")
        if late := [milestone for milestone in milestones if milestone >= recipe.epochs]:
            problems.append(
                f"schedule.milestones: {late} come after the last epoch, as epochs: {recipe.epochs}; leave them out, "
                f"as in --schedule.milestones {recipe.epochs / 3:.3g} {recipe.epochs * 2 / 3:.3g}"
            )
    return problems


def _batch_problems(recipe: Recipe) -> list[str]:
    if recipe.global_batch % recipe.micro_batch == 0:
        return []
    return [f"micro_batch: {recipe.micro_batch} does not divide global_batch: {recipe.global_batch}"]


def _input_problems(config: InputConfig) -> list[str]:
    problems: list[str] = []
    if config.eval_crop > config.eval_resize:
        problems.append(f"input.eval_crop: {config.eval_crop} is more than input.eval_resize: {config.eval_resize}")
    if config.crop_area[0] > config.crop_area[1]:
        problems.append(f"input.crop_area: {list(config.crop_area)} must be a rising pair")
    if config.augment.color_jitter[3] > 0.5:
        problems.append(f"input.augment.color_jitter: the hue's {config.augment.color_jitter[3]} is more than 0.5")
    if config.crop == "padded" and config.crop_padding >= config.train_size:
        problems.append(
            f"input.crop_padding: {config.crop_padding} must be less than input.train_size: {config.train_size}"
        )
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
