"""How long an optimizer step takes on a number of GPUs, as a sum of times that can be measured. Standard library only.

A step takes the forward and backward passes of the slowest GPU, and the share of the gradients' all-reduce that the
last backward pass does not hide; or the loader's time for its images, if that is longer.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from launch.plan.config import PlanConfig
from launch.plan.network_size import Network, gradient_bytes
from trainer.recipe.config import Recipe

# Both chosen once, over the published figures of tests/launch/plan/test_step_time.py
SPREAD = 0.03  # standard deviation of a GPU's step time, as a share of it
LINE_SHARE = 0.8  # of a link's line rate that collectives reach; nccl-tests: 235 of NVLink 3's 300 GB/s

BACKWARD = 2 / 3  # of a training step's time: gradients of weights and of inputs, one forward's work each
BUCKET = 25 * 2**20  # bytes: DistributedDataParallel's bucket_cap_mb; only the last bucket cannot be hidden
NETWORK_BOUND = 0.1  # of a step, spent waiting for gradients
GB = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Speeds:
    """Rates of one process that runs alone."""

    images_per_s: float
    """Images trained, without waiting for a loader."""
    core_images_per_s: float
    """Images that one CPU core decodes."""
    link_gb_s: float
    """Line rate to the GPUs of its node."""
    stall_bytes_per_s: float
    """Checkpoint bytes over the time that training waits for their copy."""
    write_bytes_per_s: float
    """Checkpoint bytes over the time of their write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An optimizer step on a number of GPUs."""

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
    """The loader of one process, for its images of the step."""
    images_per_s: float
    efficiency: float
    """Images/s as a share of what as many GPUs would train independently, without waiting for a loader."""
    bound: Literal["compute", "loader", "network"]
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
        """A step on `gpus` GPUs, among which `global_batch` can be divided."""
        images = self.recipe.accumulation(gpus) * self.recipe.micro_batch  # of one GPU
        compute_s = images / self.speeds.images_per_s
        waited_s = compute_s * SPREAD * slowest(gpus)
        nodes = math.ceil(gpus / self.config.gpus_per_node)
        reduce_s, exposed_s = self._all_reduce(gpus, nodes)
        trained_s, loaded_s = compute_s + waited_s + exposed_s, images / self.core_images_per_s
        seconds, is_late = max(trained_s, loaded_s), exposed_s > NETWORK_BOUND * trained_s
        return Step(
            gpus=gpus,
            nodes=nodes,
            seconds=seconds,
            compute_s=compute_s,
            waited_s=waited_s,
            reduce_s=reduce_s,
            exposed_s=exposed_s,
            loaded_s=loaded_s,
            images_per_s=gpus * images / seconds,
            efficiency=compute_s / seconds,
            bound="loader" if loaded_s > trained_s else "network" if is_late else "compute",
            cores=math.ceil(images / trained_s / self.speeds.core_images_per_s),
        )

    @property
    def core_images_per_s(self) -> float:
        """Images that all cores of one process decode."""
        return self.config.cpus_per_process * self.speeds.core_images_per_s

    def _all_reduce(self, gpus: int, nodes: int) -> tuple[float, float]:
        """Seconds of one all-reduce of all gradients, and how many of them the backward pass does not hide.

        A ring over all GPUs, as fast as its slowest link; between nodes that is a node's network.

        Reference:
            Patarasuk and Yuan 2009, section 3: each process sends 2 (n - 1) / n of the bytes. Latency as of NCCL's
            trees, 2 log2(nodes) messages for each bucket (NCCL 2.4): a ring's 2 (n - 1) would be chosen nowhere.
        """
        if gpus == 1:
            return 0.0, 0.0
        size = gradient_bytes(self.network, self.recipe)
        line_gb_s = min(self.speeds.link_gb_s, self.config.network_gb_s if nodes > 1 else math.inf)
        line = LINE_SHARE * GB * line_gb_s
        messages = 2 * math.ceil(math.log2(nodes)) * math.ceil(size / BUCKET)
        reduce_s = 2 * (gpus - 1) / gpus * size / line + messages * self.config.latency_us / 1e6
        last_bucket_s = reduce_s * min(1, BUCKET / size)
        backward_s = BACKWARD * self.recipe.micro_batch / self.speeds.images_per_s  # only the last micro-batch sends
        return reduce_s, max(last_bucket_s, reduce_s - backward_s)


def slowest(gpus: int) -> float:
    """Expected maximum of as many standard normal draws, in standard deviations.

    Reference:
        Blom 1958: the quantile of (n - 0.375) / (n + 0.25); within 5 % of the exact 0.56 for two and 1.42 for eight.
    """
    return NormalDist().inv_cdf((gpus - 0.375) / (gpus + 0.25))
