"""How long an optimizer step takes on so many GPUs: a few parts, each of which can be checked. Standard library only.

A step is the slowest GPU's forward and backward passes, and what of the gradients' all-reduce the last backward pass
does not hide; or the loader's time for its images, where that is longer.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from launch.plan.config import PlanConfig
from launch.plan.network_size import Network, gradient_bytes
from trainer.recipe.config import Recipe

# Both chosen once, over the published figures of tests/launch/plan/test_model.py
SPREAD = 0.03  # standard deviation of a GPU's step time, as a share of it
LINE_SHARE = 0.8  # of a link's line rate that collectives reach; nccl-tests: 235 of NVLink 3's 300 GB/s

BACKWARD = 2 / 3  # of a training step's time: gradients of weights and of inputs, one forward's work each
BUCKET = 25 * 2**20  # bytes: DistributedDataParallel's bucket_cap_mb; only the last bucket cannot be hidden
NETWORK_BOUND = 0.1  # of a step, spent waiting for gradients
GB = 1e9

Bound = Literal["compute", "loader", "network"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Speeds:
    """What one process does alone."""

    images_per_s: float
    """Trained, with images always there."""
    core_images_per_s: float
    """Decoded by one CPU core."""
    link_gb_s: float
    """Line rate to the GPUs of its node."""
    stall_bytes_per_s: float
    """Checkpoint bytes over the time that training waits for their copy."""
    write_bytes_per_s: float
    """Checkpoint bytes over the time of their write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An optimizer step on so many GPUs."""

    gpus: int
    nodes: int
    seconds: float
    compute_s: float
    """Forward and backward passes of a GPU alone."""
    waited_s: float
    """For the slowest GPU."""
    reduce_s: float
    """All-reduce of the gradients."""
    exposed_s: float
    """Of that, what the backward pass does not hide."""
    loaded_s: float
    """A process's loader, for its images."""
    images_per_s: float
    efficiency: float
    """Share of what as many GPUs would train alone, with images always there."""
    bound: Bound
    cores: int
    """CPU cores per GPU that decode as fast as it trains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """A recipe on a cluster."""

    config: PlanConfig
    recipe: Recipe
    network: Network
    speeds: Speeds

    def step(self, gpus: int) -> Step:
        """A step on so many GPUs, to which `global_batch` can be dealt out."""
        images = self.recipe.accumulation(gpus) * self.recipe.micro_batch  # of one GPU
        compute_s = images / self.speeds.images_per_s
        waited_s = compute_s * SPREAD * slowest(gpus)
        reduce_s, exposed_s = self._all_reduce(gpus)
        trained_s, loaded_s = compute_s + waited_s + exposed_s, images / self.core_images_per_s
        seconds = max(trained_s, loaded_s)
        return Step(
            gpus=gpus,
            nodes=self._nodes(gpus),
            seconds=seconds,
            compute_s=compute_s,
            waited_s=waited_s,
            reduce_s=reduce_s,
            exposed_s=exposed_s,
            loaded_s=loaded_s,
            images_per_s=gpus * images / seconds,
            efficiency=compute_s / seconds,
            bound=_bound(trained_s, loaded_s, exposed_s),
            cores=math.ceil(images / trained_s / self.speeds.core_images_per_s),
        )

    @property
    def core_images_per_s(self) -> float:
        """What the cores of one process decode."""
        return self.config.cpus_per_process * self.speeds.core_images_per_s

    @property
    def _backward_s(self) -> float:
        """Of the last micro-batch: earlier ones of a step send nothing."""
        return BACKWARD * self.recipe.micro_batch / self.speeds.images_per_s

    def _nodes(self, gpus: int) -> int:
        return math.ceil(gpus / self.config.gpus_per_node)

    def _all_reduce(self, gpus: int) -> tuple[float, float]:
        """Seconds of one all-reduce of all gradients, and what is left of them after the backward pass.

        A ring over all GPUs, as fast as its slowest link; a node's network carries what passes between two nodes.

        Reference:
            Patarasuk and Yuan 2009, section 3: each process sends 2 (n - 1) / n of the bytes. Latency as of NCCL's
            trees, 2 log2(nodes) messages for each bucket (NCCL 2.4): a ring's 2 (n - 1) would be chosen nowhere.
        """
        if gpus == 1:
            return 0.0, 0.0
        size, nodes = gradient_bytes(self.network, self.recipe), self._nodes(gpus)
        network_gb_s = self.config.network_gb_s if nodes > 1 else math.inf
        line = LINE_SHARE * GB * min(self.speeds.link_gb_s, network_gb_s)
        messages = 2 * math.ceil(math.log2(nodes)) * math.ceil(size / BUCKET)
        reduce_s = 2 * (gpus - 1) / gpus * size / line + messages * self.config.latency_us / 1e6
        last_bucket_s = reduce_s * min(1, BUCKET / size)
        return reduce_s, max(last_bucket_s, reduce_s - self._backward_s)


def slowest(gpus: int) -> float:
    """Expected maximum of as many standard normal draws, in standard deviations.

    Reference:
        Blom 1958: the quantile of (n - 0.375) / (n + 0.25); within 5 % of the exact 0.56 for two and 1.42 for eight.
    """
    return NormalDist().inv_cdf((gpus - 0.375) / (gpus + 0.25))


def _bound(trained_s: float, loaded_s: float, exposed_s: float) -> Bound:
    if loaded_s > trained_s:
        return "loader"
    return "network" if exposed_s > NETWORK_BOUND * trained_s else "compute"
