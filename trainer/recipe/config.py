"""The recipe (what is learned) and the site (where it runs). Standard library only, so that `--help` loads no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data.config import Backend
from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.optim.config import EmaConfig, LossConfig, MixingConfig
from trainer.optim.optimizer_config import AnyOptimizer, SgdConfig
from trainer.optim.schedule_config import AnySchedule, CosineScheduleConfig

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is learned. The same recipe is the same experiment, wherever it runs."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    input: InputConfig = field(default_factory=InputConfig)
    """What the network sees: sizes, crops, flips, normalisation."""
    optimizer: AnyOptimizer = field(default_factory=SgdConfig)
    """How a gradient changes the weights."""
    schedule: AnySchedule = field(default_factory=CosineScheduleConfig)
    """How the learning rate changes over the run."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimised."""
    mixing: MixingConfig = field(default_factory=MixingConfig)
    """Blends of images, on the device."""
    ema: EmaConfig = field(default_factory=EmaConfig)
    """Moving average of the weights."""
    epochs: int = field(default=90, metadata={"min": 1, "max": 1_000_000})
    """Passes over the training set."""
    global_batch: int = field(default=256, metadata={"min": 1, "max": 1_000_000})
    """Images per optimizer step, over all processes and accumulated micro-batches."""
    micro_batch: int = field(default=32, metadata={"min": 1, "max": 65_536})
    """Images per process and forward pass, over which BatchNorm takes its statistics."""
    clip_norm: float | None = field(default=None, metadata={"above": 0})
    """Largest norm of the gradient of all weights together; a longer gradient is scaled down. None: no limit."""
    max_skipped: int = field(default=0, metadata={"min": 0, "max": 1_000_000})
    """Steps that a run may skip because their gradient is not finite; one more ends the run."""
    sync_bn: bool = False
    """BatchNorm takes its statistics over the whole `global_batch`, on GPUs, which wait for each other at each such
    layer; then nothing may be accumulated."""
    precise_bn: int = field(default=0, metadata={"min": 0, "max": 1_000_000})
    """Training images over which BatchNorm's statistics are computed before each evaluation; 0: running averages."""
    gradient_compression: Literal["none", "bf16", "fp16"] = "none"
    """What gradients are rounded to on their way between processes; half the traffic."""
    precision: Precision = "bf16"
    """Arithmetic of the forward pass: fp32, tf32 (on GPUs), or autocast to bf16 or, its gradients scaled, to fp16."""
    compile: Literal["off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "off"
    """Mode of torch.compile; reduce-overhead and max-autotune use CUDA graphs, and take no accumulated gradients."""
    seed: int = field(default=0, metadata={"min": 0, "below": 2**32})
    """Decides the initial weights, the order of the images, every crop and flip."""

    def accumulation(self, world_size: int) -> int:
        """Micro-batches that each of so many processes takes in an optimizer step."""
        return self.global_batch // (self.micro_batch * world_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteConfig:
    """Where it runs. Nothing here changes what is learned."""

    data: Path
    """Folder of the image tree: DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG."""
    output: Path
    """Run directory. One that holds this recipe's run is continued from its last checkpoint."""
    manifests: Path | None = None
    """Folder of the manifests of `provenet verify`. None: DATA, or where it has none the run makes its own."""
    loader: Backend | None = None
    """What decodes: threads, dali (both on the CPU) or dali_gpu, which evaluates on the CPU. None: as the run began, or
    what suits the machine."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of the images that may be broken, at the start or during training."""
    channels_last: bool = True
    """Lay images and convolution weights out as NHWC in memory; faster, same mathematics."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads per process, also for the model without a GPU. None: its share, with a GPU at most 16."""
    numa: bool = True
    """Where a machine has several NUMA nodes: stay on CPUs near the GPU, unless the launcher has chosen some."""
    log_every: int = field(default=20, metadata={"min": 1, "max": 1_000_000})
    """Steps between two points of loss, top-1 and throughput in TensorBoard and metrics.jsonl."""
    trackers: tuple[Tracker, ...] = ()
    """Experiment trackers that get TensorBoard's numbers too, by Accelerate's names; their packages are your own."""
    profile: int | None = field(default=None, metadata={"min": 1, "max": 10_000})
    """Record what each process does in this many steps, for TensorBoard and Perfetto: OUTPUT/profile."""
    save_minutes: float = field(default=15.0, metadata={"above": 0, "max": 1_000_000})
    """Minutes from one checkpoint to the next; each epoch ends with one as well."""
    save_steps: int | None = field(default=None, metadata={"min": 1, "max": 1_000_000_000})
    """Optimizer steps from one checkpoint to the next. None: by the clock alone."""
    keep_checkpoints: int = field(default=3, metadata={"min": 1, "max": 1_000_000})
    """Newest checkpoints kept in the run directory."""
    keep_best: int = field(default=1, metadata={"min": 0, "max": 1_000_000})
    """Checkpoints of highest top-1 kept besides."""
    checkpoints_gb: float | None = field(default=None, metadata={"above": 0})
    """Most disk space for all checkpoints together, gigabytes. None: what is free there."""
    save_failure: Literal["go-on", "stop"] = "go-on"
    """Where a checkpoint cannot be written: say so, go on and try again, or stop."""
    accumulate: Literal["recipe", "auto"] = "recipe"
    """auto: at a run's first start, lower `micro_batch` until it fits into memory; `global_batch` stays."""
    deterministic: bool = False
    """On a GPU, use only algorithms that repeat bit for bit; slower. CPUs always do."""
    smoke: bool = False
    """Try the recipe: its epochs in one of eight steps, on a few of the images, each phase once; for no result."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""
