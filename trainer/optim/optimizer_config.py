"""The optimizers that a recipe can name. Standard library only."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """What every optimizer has."""

    lr: float = field(default=0.1, metadata={"above": 0})
    """Peak learning rate for a step of `base_batch` images."""
    base_batch: int | None = field(default=None, metadata={"min": 1, "max": 1_000_000})
    """Batch size for which `lr` is meant: lr is scaled by global_batch / base_batch. None: not scaled."""
    weight_decay: float = field(default=0.0, metadata={"min": 0})
    """Strength of the decay."""
    decay_norm_and_bias: bool = False
    """Decay normalisation weights and biases too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum; its decay is an L2 penalty, added to the gradient."""

    name: Literal["sgd"] = "sgd"
    """Kind of optimizer."""
    weight_decay: float = field(default=1e-4, metadata={"min": 0})
    """L2 penalty, added to the gradient."""
    decay_norm_and_bias: bool = True
    """Decay normalisation weights and biases too, as the ResNet paper did; later recipes leave them out."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Share of the last update that is kept."""
    nesterov: bool = False
    """Look ahead by the momentum before taking the gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (1711.05101)."""

    name: Literal["adamw"] = "adamw"
    """Kind of optimizer."""
    lr: float = field(default=1e-3, metadata={"above": 0})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=0.05, metadata={"min": 0})
    """Share of a weight that each step takes off, times the learning rate."""
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata={"min": 0, "below": 1})
    """Share of the old mean and of the old square that is kept."""
    eps: float = field(default=1e-8, metadata={"above": 0})
    """Added to the root of the squares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LarsConfig(OptimizerConfig):
    """SGD whose rate follows each layer's norm, for large batches (1708.03888); without decay it is not adapted."""

    name: Literal["lars"] = "lars"
    """Kind of optimizer."""
    lr: float = field(default=1.0, metadata={"above": 0})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=1e-4, metadata={"min": 0})
    """L2 penalty, added to the gradient."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Share of the last update that is kept."""
    nesterov: bool = False
    """Look ahead by the momentum before taking the gradient."""
    trust_coefficient: float = field(default=0.001, metadata={"above": 0})
    """How far a layer may move, relative to its norm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LambConfig(OptimizerConfig):
    """Adam whose rate follows each layer's norm, for large batches (1904.00962); without decay it is not adapted."""

    name: Literal["lamb"] = "lamb"
    """Kind of optimizer."""
    lr: float = field(default=5e-3, metadata={"above": 0})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=0.02, metadata={"min": 0})
    """Share of a weight in its update."""
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata={"min": 0, "below": 1})
    """Share of the old mean and of the old square that is kept."""
    eps: float = field(default=1e-6, metadata={"above": 0})
    """Added to the root of the squares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RmspropTfConfig(OptimizerConfig):
    """RMSprop as TensorFlow has it, with which Inception-v3 was trained: `eps` under the root, squares begin at one."""

    name: Literal["rmsprop_tf"] = "rmsprop_tf"
    """Kind of optimizer."""
    lr: float = field(default=0.045, metadata={"above": 0})
    """Peak learning rate for a step of `base_batch` images."""
    weight_decay: float = field(default=4e-5, metadata={"min": 0})
    """L2 penalty, added to the gradient."""
    alpha: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Share of the old squares that is kept (1512.00567, section 8: decay)."""
    eps: float = field(default=1.0, metadata={"above": 0})
    """Added to the squares (1512.00567, section 8)."""
    momentum: float = field(default=0.9, metadata={"min": 0, "below": 1})
    """Share of the last update that is kept."""


AnyOptimizer = SgdConfig | AdamWConfig | LarsConfig | LambConfig | RmspropTfConfig
