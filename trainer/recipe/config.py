"""The recipe (what is learned) and the site (where it runs). Loads no torch, and so does `--help`."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from data.catalog.layout import Layout
from data.plan.config import InputConfig
from data.types import Backend
from models.config import ModelConfig
from trainer.optim.config import (
    AnyOptimizer,
    AnySchedule,
    CosineScheduleConfig,
    EmaConfig,
    LossConfig,
    MixingConfig,
    SgdConfig,
)
from trainer.recipe.decode import encode

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Followed = Literal["mean", "std", "train_size", "eval_resize", "eval_crop", "eval_interpolation"]
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"]


@dataclass(frozen=True, kw_only=True, slots=True)
class InitConfig:
    """The weights that a run begins from."""

    weights: str | None = None
    """Trained weights to begin from: a run directory, a file of weights, timm/NAME[.TAG], torchvision/NAME[.WEIGHTS],
    hf-hub:OWNER/NAME or local-dir:FOLDER. None: random ones."""
    entry: str | None = None
    """Which weights of a run or file that holds several: raw, ema, or the name of an entry in the file, such as
    state_dict. None: those that fit the network best; of a file with both and of a run, the moving average."""
    head: Literal["keep", "new"] | None = None
    """Keep the classifier of these weights, or begin with a new one. None: a new one where the number of classes
    differs."""
    freeze: tuple[str, ...] | None = None
    """Weights that are not trained: backbone (all but the classifier), or patterns of their names, such as layer1.*.
    BatchNorm keeps its statistics there."""
    keep: tuple[Followed, ...] | None = None
    """Settings of `input` that do not follow these weights; those that the recipe's file or a flag states never do."""
    sha256: str | None = None
    """SHA-256 of these weights (names, shapes, values), which the first start of a run fills in; given, they must have
    it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is learned. The same recipe is the same experiment, wherever it runs."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    init: InitConfig = field(default_factory=InitConfig)
    """Trained weights to begin from."""
    code: tuple[str, ...] | None = None
    """SHA-256 of your own files of code, in the order of --import, which fills it in; given, the files must have it."""
    input: InputConfig = field(default_factory=InputConfig)
    """Sizes, crops, augmentation and normalisation of the images."""
    optimizer: AnyOptimizer = field(default_factory=SgdConfig)
    """The optimizer."""
    schedule: AnySchedule = field(default_factory=CosineScheduleConfig)
    """The learning rate over the run."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The training loss."""
    mixing: MixingConfig = field(default_factory=MixingConfig)
    """Mixup and cutmix."""
    ema: EmaConfig = field(default_factory=EmaConfig)
    """Moving average of the weights."""
    epochs: int = field(default=90, metadata={"min": 1, "max": 1_000_000})
    """Passes over the training set."""
    global_batch: int = field(default=256, metadata={"min": 1, "max": 1_000_000})
    """Images per optimizer step, over all processes and accumulated micro-batches."""
    micro_batch: int = field(default=32, metadata={"min": 1, "max": 65_536})
    """Images per process and forward pass, over which BatchNorm computes its statistics."""
    clip_norm: float | None = field(default=None, metadata={"above": 0, "max": 1_000_000})
    """Largest norm of the gradient of all weights together; a longer gradient is scaled down. None: no limit."""
    max_skipped: int = field(default=0, metadata={"min": 0, "max": 1_000_000})
    """Steps that a run may skip because their gradient is not finite; one more ends the run."""
    sync_bn: bool = False
    """Compute BatchNorm's statistics over the whole `global_batch`; needs GPUs, which wait for each other in each such
    layer, and a step of one micro-batch per process."""
    precise_bn: int = field(default=0, metadata={"min": 0, "max": 1_000_000})
    """Training images over which BatchNorm's statistics are computed before each evaluation; 0: running averages."""
    gradient_compression: Literal["none", "bf16", "fp16"] = "none"
    """Type that gradients are rounded to for the exchange between processes, which halves the traffic."""
    precision: Precision = "bf16"
    """Arithmetic of the forward pass: fp32, tf32 (on GPUs), or autocast to bf16 or to fp16 with scaled losses."""
    compile: Literal["off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "off"
    """Mode of torch.compile; reduce-overhead and max-autotune use CUDA graphs and cannot accumulate gradients."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them, where a network of timm offers it: less
    memory, the same losses."""
    seed: int = field(default=0, metadata={"min": 0, "below": 2**32})
    """Decides the initial weights, the order of the images, every crop and flip."""

    def accumulation(self, world_size: int) -> int:
        """Micro-batches of each process in an optimizer step."""
        return self.global_batch // (self.micro_batch * world_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteConfig(Layout):
    """Where it runs. Nothing here changes what is learned."""

    data: Path
    """The images: DATA/train/<class>/ and DATA/val/<class>/ (or valid, validation, test); tar shards in DATA/train and
    DATA/val, or named so in DATA; Kaggle's folder that holds ILSVRC; CIFAR's own folder. One folder of classes:
    with --val-share. Flat folders: with --train-labels and --val-labels. All else: see data/README.md."""
    output: Path
    """Run directory. One that holds this recipe's run is continued from its last checkpoint."""
    manifests: Path | None = None
    """Folder of the manifests that `provenet verify` wrote. None: DATA; if it holds none, the run lists the images."""
    loader: Backend | None = None
    """Decoder of the images: threads or dali (on the CPU), or dali_gpu (evaluates on the CPU). None: the one that the
    run began with, or for a new run the fastest that works on this machine."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of the images that may be broken, at the start or during training."""
    channels_last: bool = True
    """Store images and convolution weights as NHWC in memory; faster, same mathematics."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads per process, for loading and networks on CPUs. None: its CPUs, by a GPU at most 16."""
    numa: bool = True
    """On a machine with several NUMA nodes, bind each process to CPUs near its GPU, unless the launcher has done so."""
    log_every: int = field(default=20, metadata={"min": 1, "max": 1_000_000})
    """Steps between two log points in TensorBoard and metrics.jsonl."""
    trackers: tuple[Tracker, ...] = ()
    """Experiment trackers that get TensorBoard's figures too, by Accelerate's names; install their packages first."""
    profile: int | None = field(default=None, metadata={"min": 1, "max": 10_000})
    """Record what each process does in this many steps, for TensorBoard and Perfetto: OUTPUT/profile."""
    save_minutes: float = field(default=15.0, metadata={"above": 0, "max": 1_000_000})
    """Minutes from one checkpoint to the next; each epoch ends with one as well."""
    save_steps: int | None = field(default=None, metadata={"min": 1, "max": 1_000_000_000})
    """Optimizer steps from one checkpoint to the next. None: by the clock alone."""
    keep_checkpoints: int = field(default=3, metadata={"min": 1, "max": 1_000_000})
    """Newest checkpoints kept in the run directory."""
    keep_best: int = field(default=1, metadata={"min": 0, "max": 1_000_000})
    """Checkpoints of highest top-1 kept in addition."""
    checkpoints_gb: float | None = field(default=None, metadata={"min": 0.001, "max": 1_000_000})
    """Most disk space for all checkpoints together, gigabytes. None: what is free there."""
    save_failure: Literal["go-on", "stop"] = "go-on"
    """If a checkpoint cannot be written: print that, go on and try again later, or stop the run."""
    accumulate: Literal["recipe", "auto"] = "recipe"
    """auto: at a run's first start, lower `micro_batch` until it fits into memory; `global_batch` stays."""
    deterministic: bool = False
    """On a GPU, use only deterministic algorithms, which are slower; CPUs always do."""
    smoke: bool = False
    """Test the recipe in a run of one epoch of eight steps on few images; the whole schedule is scaled down to it."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""


def flags(config: Any) -> tuple[str, ...]:
    """The command-line flags of a flat dataclass, without those at their defaults."""
    return tuple(word for field in fields(config) for word in _flag(field.name, field, getattr(config, field.name)))


def _flag(name: str, field: Any, value: Any) -> Iterator[str]:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    if value == default:
        return
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    else:
        yield f"--{flag}"
        yield from map(str, encode(value) if isinstance(value, tuple) else [encode(value)])
