"""How long a step and a whole run take on a number of GPUs, as sums of times that can be measured.

A step takes the forward and backward passes of the slowest GPU, and the share of the gradients' all-reduce that the
last backward pass does not hide; or the loader's time for its images, if that is longer.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from launch.plan.config import MOST_GPUS, PlanConfig
from launch.plan.network_size import Network, checkpoint_bytes, gradient_bytes
from trainer.recipe.config import Recipe

# Both chosen once, over the published figures of tests/launch/plan/test_forecast.py
SPREAD = 0.03  # standard deviation of a GPU's step time, as a share of it
LINE_SHARE = 0.8  # of a link's line rate that collectives reach; nccl-tests: 235 of NVLink 3's 300 GB/s

BACKWARD = 2 / 3  # of a training step's time: gradients of weights and of inputs, one forward's work each
BUCKET = 25 * 2**20  # bytes: DistributedDataParallel's bucket_cap_mb; only the last bucket cannot be hidden
NETWORK_BOUND = 0.1  # of a step, spent waiting for gradients
GB = 1e9
FORWARD = 1 / 3  # of a training image's time: the backward pass costs twice the forward pass
EVAL_DECODING = 3.14 / 1.66  # CPU time of an evaluation image to a training image: trainer/RESULTS.md


class TooShortError(ValueError):
    """The time limit leaves a job no time to train; the message names the flag."""


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
class Run:
    """All epochs of a recipe on a number of GPUs."""

    step: Step
    steps: int
    """Steps of an epoch."""
    evaluation_s: float
    """One evaluation."""
    epoch_s: float
    """An epoch with its evaluation and the time that training waits for checkpoints."""
    checkpoint_bytes: int
    stall_s: float
    """Time that training waits for one checkpoint."""
    write_s: float
    """Time of its write, while training goes on."""
    requeues: int
    hours: float
    """From the first job's start to the last one's end, with the waits in the queue between."""
    gpu_hours: float
    """Without the waits in the queue."""


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

    def run(self, gpus: int) -> Run:
        """The whole run on `gpus` GPUs, among which `global_batch` can be divided.

        Raises:
            TooShortError: The time limit leaves a job no time to train.
        """
        config, recipe, step = self.config, self.recipe, self.step(gpus)
        whole = math.floor if recipe.input.drop_last else math.ceil
        steps = max(1, whole(config.train_images / recipe.global_batch))
        size = checkpoint_bytes(self.network, recipe, gpus)
        stall_s, write_s = size / self.speeds.stall_bytes_per_s, size / self.speeds.write_bytes_per_s
        evaluation_s = self._evaluation_s(gpus)
        busy_s = steps * step.seconds + evaluation_s
        epoch_s = busy_s + stall_s * (1 + busy_s // (60 * config.save_minutes))
        work_s = recipe.epochs * epoch_s
        around_s = config.startup_s + write_s  # a job that ends waits for its last checkpoint to be written
        requeues = _jobs(work_s, 3600 * config.hours, around_s) - 1
        computed_s = work_s + (requeues + 1) * around_s
        return Run(
            step=step,
            steps=steps,
            evaluation_s=evaluation_s,
            epoch_s=epoch_s,
            checkpoint_bytes=size,
            stall_s=stall_s,
            write_s=write_s,
            requeues=requeues,
            hours=(computed_s + 60 * requeues * config.queue_minutes) / 3600,
            gpu_hours=gpus * computed_s / 3600,
        )

    @property
    def core_images_per_s(self) -> float:
        """Images that all cores of one process decode."""
        return self.config.cpus_per_process * self.speeds.core_images_per_s

    def _evaluation_s(self, gpus: int) -> float:
        """Forward passes of the images of `val` and of `precise_bn`, by the weights and, if there is one, the EMA."""
        recipe, sizes = self.recipe, self.recipe.input
        images = math.ceil((self.config.val_images + recipe.precise_bn) / gpus)
        networks = 2 if recipe.ema.decay else 1
        seconds = FORWARD * (sizes.eval_crop / sizes.train_size) ** 2 / self.speeds.images_per_s
        return images * max(networks * seconds, EVAL_DECODING / self.core_images_per_s)

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


def gpu_counts(config: PlanConfig) -> list[int]:
    """GPUs of each row: doubled up to a node, then by doubled nodes; and those of the flags."""
    node = config.gpus_per_node
    within = [2**power for power in range(node.bit_length()) if 2**power < node]
    across = [node * 2**power for power in range(MOST_GPUS.bit_length()) if node * 2**power <= MOST_GPUS]
    return sorted({*within, *across, node * config.nodes})


def _jobs(work_s: float, limit_s: float, around_s: float) -> int:
    if limit_s <= around_s:
        raise TooShortError(
            f"--hours: {limit_s / 3600:g} are {limit_s:.0f} s, but a job's start and its last checkpoint take "
            f"{around_s:.0f} s; use more, or lower --startup-s"
        )
    return math.ceil(work_s / (limit_s - around_s))


def slowest(gpus: int) -> float:
    """Expected maximum of as many standard normal draws, in standard deviations.

    Reference:
        Blom 1958: the quantile of (n - 0.375) / (n + 0.25); within 5 % of the exact 0.56 for two and 1.42 for eight.
    """
    return NormalDist().inv_cdf((gpus - 0.375) / (gpus + 0.25))
