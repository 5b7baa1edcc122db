"""What a recipe can set of its optimizer, schedule, loss, mixed images and averaged weights. Standard library only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

LOSSES: dict[str, Callable[[Any, Any], Any]] = {}
"""A user's losses by name: from logits (N, C) and shares of the classes (N, C), both float32, to losses (N,)."""
OPTIMIZERS: dict[str, Callable[..., Any]] = {}
"""A user's subclasses of torch.optim.Optimizer by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Settings that all optimizers share."""

    lr: float = field(default=0.1, metadata={"above": 0, "max": 1000})
    """Peak learning rate for a step of `base_batch` images."""
    base_batch: int | None = field(default=None, metadata={"min": 1, "max": 1_000_000})
    """Batch size for which `lr` is meant: lr is scaled by global_batch / base_batch. None: not scaled."""
    weight_decay: float = field(default=0.0, metadata={"min": 0, "max": 10})
    """Strength of the decay."""
    decay_norm_and_bias: bool = False
    """Decay normalisation weights and biases too."""
    no_decay: Literal["network"] | None = None
    """network: nor decay what the network names, as timm's transformers do with class tokens and position embeddings.
    None: decay these."""
    layer_decay: float | None = field(default=None, metadata={"above": 0, "max": 1})
    """Factor of the learning rate from each layer to the one before it, as in BEiT (2106.08254). None: all have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum; its decay is an L2 penalty, added to the gradient."""

    name: Literal["sgd"] = "sgd"
    weight_decay: float = field(default=1e-4, metadata={"min": 0, "max": 10})
    """L2 penalty, added to the gradient."""
    decay_norm_and_bias: bool = True
    """Decay normalisation weights and biases too, as the ResNet paper did; later recipes leave them out."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Factor of the last update that is added to the next."""
    nesterov: bool = False
    """Use Nesterov's momentum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (1711.05101)."""

    name: Literal["adamw"] = "adamw"
    lr: float = field(default=1e-3, metadata={"above": 0, "max": 1000})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=0.05, metadata={"min": 0, "max": 10})
    """Share of a weight that each step takes off, times the learning rate."""
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata={"min": 0, "below": 1})
    """Decay of the running means of the gradient and of its square."""
    eps: float = field(default=1e-8, metadata={"above": 0, "max": 10})
    """Added to the root of the squares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LarsConfig(OptimizerConfig):
    """SGD for large batches, its rate scaled by each layer's norm (1708.03888), but not of weights without decay."""

    name: Literal["lars"] = "lars"
    lr: float = field(default=1.0, metadata={"above": 0, "max": 1000})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=1e-4, metadata={"min": 0, "max": 10})
    """L2 penalty, added to the gradient."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Factor of the last update that is added to the next."""
    nesterov: bool = False
    """Use Nesterov's momentum."""
    trust_coefficient: float = field(default=0.001, metadata={"above": 0, "max": 10})
    """How far a layer may move, relative to its norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LambConfig(OptimizerConfig):
    """Adam for large batches, its rate scaled by each layer's norm (1904.00962), but not of weights without decay."""

    name: Literal["lamb"] = "lamb"
    lr: float = field(default=5e-3, metadata={"above": 0, "max": 1000})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=0.02, metadata={"min": 0, "max": 10})
    """Decay: this share of a weight is added to its update."""
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata={"min": 0, "below": 1})
    """Decay of the running means of the gradient and of its square."""
    eps: float = field(default=1e-6, metadata={"above": 0, "max": 10})
    """Added to the root of the squares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RmspropTfConfig(OptimizerConfig):
    """TensorFlow's RMSprop, which trained Inception-v3: `eps` is under the root, and the mean square starts at 1."""

    name: Literal["rmsprop_tf"] = "rmsprop_tf"
    lr: float = field(default=0.045, metadata={"above": 0, "max": 1000})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=4e-5, metadata={"min": 0, "max": 10})
    """L2 penalty, added to the gradient."""
    alpha: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Decay of the running mean of the squared gradient (1512.00567, section 8)."""
    eps: float = field(default=1.0, metadata={"above": 0, "max": 10})
    """Added to the squares (1512.00567, section 8)."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Factor of the last update that is added to the next."""


RESUMES = ("adan", "adopt", "lion", "muon", "nadamw")  # of timm's, those with which tests resume bit for bit


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmConfig(OptimizerConfig):
    """Any optimizer of timm, or of your own. Exact resume is tested of adan, adopt, lion, muon and nadamw."""

    name: Literal["timm"] = "timm"
    method: str = "nadamw"
    """Its name there, as of timm's --opt; or that of one of your own (--import)."""
    options: tuple[str, ...] | None = None
    """Arguments of its class as NAME=VALUE, such as "betas=(0.9, 0.98)". None: its defaults."""


AnyOptimizer = SgdConfig | AdamWConfig | LarsConfig | LambConfig | RmspropTfConfig | TimmConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """Settings that all schedules share: a linear warm-up (1706.02677, section 2.2)."""

    warmup_epochs: float = field(default=0.0, metadata={"min": 0, "max": 1_000_000})
    """Epochs in which the learning rate rises to its peak."""
    warmup_steps: int = field(default=0, metadata={"min": 0, "max": 1_000_000_000})
    """Length of the warm-up in optimizer steps; set this or `warmup_epochs`, not both."""
    warmup_lr: float | None = field(default=None, metadata={"min": 0, "max": 1000})
    """Learning rate of the first step. None: on a line from 0 one step before it."""
    warmup: Literal["timm", "convnext"] | None = None
    """timm: the curve begins with the run, and the warm-up replaces its beginning. convnext: the curve begins after the
    warm-up, whose last step has the peak. None: after the warm-up, and its first step has the peak."""
    by: Literal["step", "epoch"] | None = None
    """epoch: the learning rate changes between epochs only. None: at each step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepScheduleConfig(ScheduleConfig):
    """Divide the learning rate at fixed epochs."""

    name: Literal["step"] = "step"
    milestones: tuple[float, ...] = field(default=(30.0, 60.0, 80.0), metadata={"above": 0, "max": 1_000_000})
    """Epochs, in rising order, at which the learning rate is multiplied by `gamma`."""
    gamma: float = field(default=0.1, metadata={"above": 0, "below": 1})
    """Factor at each milestone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineScheduleConfig(ScheduleConfig):
    """Half a cosine from the peak, after the warm-up, to `final_lr` (1608.03983, without restarts)."""

    name: Literal["cosine"] = "cosine"
    final_lr: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """Learning rate after the last step, at most the peak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearScheduleConfig(ScheduleConfig):
    """A straight line from the peak, after the warm-up, to `final_lr`."""

    name: Literal["linear"] = "linear"
    final_lr: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """Learning rate after the last step, at most the peak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantScheduleConfig(ScheduleConfig):
    """The peak, from the warm-up to the end."""

    name: Literal["constant"] = "constant"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolynomialScheduleConfig(ScheduleConfig):
    """From the peak, after the warm-up, to `final_lr` by a power of the share of steps left."""

    name: Literal["polynomial"] = "polynomial"
    final_lr: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """Learning rate after the last step, at most the peak."""
    power: float = field(default=2.0, metadata={"above": 0, "max": 100})
    """Exponent: 2 in recipes with LARS (1709.05011), 1 for a straight line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PiecewiseScheduleConfig(ScheduleConfig):
    """Straight lines between points, evaluated at every step; the points contain the warm-up."""

    name: Literal["piecewise"] = "piecewise"
    points: tuple[float, ...] = field(default=(0.0, 2.0, 90.0), metadata={"min": 0, "max": 1_000_000})
    """Epochs, rising from 0; after the last point its factor holds."""
    factors: tuple[float, ...] = field(default=(0.0, 1.0, 0.0), metadata={"min": 0, "max": 1})
    """Share of the peak at each of the points."""


AnySchedule = (
    StepScheduleConfig
    | CosineScheduleConfig
    | LinearScheduleConfig
    | ConstantScheduleConfig
    | PolynomialScheduleConfig
    | PiecewiseScheduleConfig
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The training loss; an auxiliary head's loss is added with a weight of 0.4 (1512.00567)."""

    name: str = "cross_entropy"
    """cross_entropy; bce, the mean of the classes' binary cross-entropies (2110.00476, section 2); or one of your own
    (--import)."""
    label_smoothing: float = field(default=0.0, metadata={"min": 0, "below": 1})
    """Share of the target spread evenly over all classes (1512.00567, section 7)."""
    bce_threshold: float | None = field(default=None, metadata={"min": 0, "below": 1})
    """With bce, targets above it become 1, all others 0 (2110.00476). None: unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixingConfig:
    """Blends of two images and their targets; if both kinds are on, each micro-batch gets one of them at random."""

    mixup: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """Parameter of the Beta distribution of the next image's share; 0: off (1710.09412)."""
    cutmix: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """The same for a rectangle cut out of the next image; 0: off (1905.04899)."""
    switch: float | None = field(default=None, metadata={"min": 0, "max": 1})
    """Probability that a mixed micro-batch gets cutmix, where both are on. None: 0.5."""
    probability: float | None = field(default=None, metadata={"min": 0, "max": 1})
    """Probability that a micro-batch is mixed at all. None: 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaConfig:
    """A moving average of weights and buffers; both it and the raw weights are evaluated."""

    decay: float | None = field(default=None, metadata={"above": 0, "below": 1})
    """Decay of the average at each update. None: no average."""
    every: int = field(default=1, metadata={"min": 1, "max": 1_000_000})
    """Optimizer steps between two updates."""
    warmup: bool = True
    """Forget the initial weights faster: after n updates, the decay is at most (1 + n) / (10 + n)."""
