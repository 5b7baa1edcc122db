"""The size of a network and of its checkpoint. Loads torch only to count."""

from dataclasses import dataclass
from typing import Any

from trainer.optim.config import AnyOptimizer, LarsConfig, RmspropTfConfig, SgdConfig, TimmConfig
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError

FLOAT = 4  # bytes: weights, gradients and momenta are float32 in every precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """The size of one network."""

    parameters: int
    """Weights that are trained."""
    statistics: int
    """Numbers in BatchNorm's running statistics."""
    state_bytes: int
    """Its state dict: weights and buffers."""
    multiply_adds: int
    """Of the forward pass of one training image."""
    saved: int
    """Numbers that the forward pass of one training image keeps for the backward pass."""


def weigh(recipe: Recipe) -> Network:
    """Build its network without memory and count; its modules load only here.

    Raises:
        InvalidConfigError: It cannot be trained as the recipe says.
        RuntimeError: It does not take images of this size.
        ValueError: It cannot be built.
    """
    from models.trace import multiply_adds, saved_for_backward, skeleton
    from trainer import trainable
    from trainer.optim import batchnorm, freezing

    model, size = recipe.model, recipe.input.train_size
    built: Any = skeleton(model)
    if problems := trainable.problems(built, recipe):
        raise InvalidConfigError(problems)
    freezing.freeze(built, recipe.init.freeze or ())
    computed = multiply_adds(built, size, model.in_channels)
    if recipe.gradient_checkpointing:
        built.set_grad_checkpointing()
    return Network(
        parameters=sum(weight.numel() for weight in built.parameters() if weight.requires_grad),
        statistics=sum(buffer.numel() for buffer in batchnorm.buffers(built).values()),
        state_bytes=sum(tensor.nbytes for tensor in built.state_dict().values()),
        multiply_adds=computed,
        saved=saved_for_backward(built, size, model.in_channels),
    )


def checkpoint_bytes(network: Network, recipe: Recipe, world_size: int) -> int:
    """Size of a checkpoint: weights, their EMA, the optimizer's state, and BatchNorm's statistics of each process."""
    networks = 2 if recipe.ema.decay else 1
    momenta = FLOAT * network.parameters * copies(recipe.optimizer)
    return networks * (network.state_bytes + world_size * FLOAT * network.statistics) + momenta


def copies(optimizer: AnyOptimizer) -> int:
    """Numbers that an optimizer keeps for each weight."""
    match optimizer:
        case SgdConfig() | LarsConfig():
            return 1 if optimizer.momentum else 0
        case RmspropTfConfig():
            return 2 if optimizer.momentum else 1
        case TimmConfig():
            return {"lion": 1, "muon": 1, "adan": 4}.get(optimizer.method, 2)
        case _:
            return 2  # the mean of the gradient and of its square


def memory_bytes(network: Network, recipe: Recipe) -> tuple[int, int]:
    """Memory of a GPU that trains, without CUDA itself: what its micro-batch takes, and what stays between steps.

    Weights, gradients, momenta and averages are float32; activations have half the bytes under autocast, though some
    layers keep float32 (LayerNorm: a transformer takes a sixth more). Gradients of activations come and go during the
    backward pass, and cuDNN wants room to work: a tenth.
    """
    number = 2 if recipe.precision in ("bf16", "fp16") else FLOAT
    pixels = 3 * recipe.input.train_size**2
    batch = recipe.micro_batch * (1.1 * number * network.saved + (FLOAT + 2) * pixels)  # float, and two in bytes ahead
    kept = (2 if recipe.ema.decay else 1) * network.state_bytes
    return int(batch), kept + FLOAT * network.parameters * (1 + copies(recipe.optimizer))


def gradient_bytes(network: Network, recipe: Recipe) -> int:
    """Size of the gradients as they are sent, without the ring's factor of about two."""
    return network.parameters * (FLOAT if recipe.gradient_compression == "none" else FLOAT // 2)
