"""What a network weighs, counted in a process of its own, so that this one loads no torch; and its checkpoint."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from data.bench.talk import FailedError, last_words
from models.config import ModelConfig
from trainer.bench.process import environment
from trainer.config import Recipe
from trainer.learn.optim_config import AnyOptimizer, LarsConfig, RmspropTfConfig, SgdConfig

FLOAT = 4  # bytes: weights, gradients and momenta are float32 in every precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network, as far as time and memory go."""

    parameters: int
    """Weights that are trained."""
    statistics: int
    """Numbers that BatchNorm keeps running."""
    state_bytes: int
    """Its state dict: weights and buffers."""
    multiply_adds: int
    """Of the forward pass of one training image."""


def weigh(model: ModelConfig, image_size: int) -> Network:
    """Count a network, for images of so many pixels a side.

    Raises:
        FailedError: It cannot be built.
    """
    return Network(**ask("network", json.dumps({"model": asdict(model), "image_size": image_size}), threads=1))


def ask(what: str, text: str, threads: int) -> dict[str, Any]:
    """The answer of `launch.plan.worker`, which loads torch.

    Raises:
        FailedError: It ended without one.
    """
    command = [sys.executable, "-P", "-m", "launch.plan.worker", what, text]
    done = subprocess.run(command, env=environment(threads), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(last_words(done.stderr, done.returncode))
    return json.loads(done.stdout)


def checkpoint_bytes(network: Network, recipe: Recipe, world_size: int) -> int:
    """Size of a checkpoint: weights, their average, the optimizer's state, and what each process keeps of BatchNorm."""
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
        case _:
            return 2  # the mean of the gradient and of its square


def gradient_bytes(network: Network, recipe: Recipe) -> int:
    """What each process sends of its gradients, before the ring's own factor."""
    return network.parameters * (FLOAT if recipe.gradient_compression == "none" else FLOAT // 2)
