"""The flags of a plan. Standard library only."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MOST_GPUS = 1024

GpuName = Literal["h200", "h100", "a100", "v100", "p100", "l40s", "rtx4090", "rtx3090"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig:
    """The cluster, the images and the speeds of a plan."""

    nodes: int = field(default=1, metadata={"min": 1, "max": MOST_GPUS})
    """Nodes of the row that is explained, with at most 1,024 GPUs in all."""
    gpus_per_node: int = field(default=8, metadata={"min": 1, "max": 64})
    """GPUs on each node, one process for each."""
    cpus_per_process: int = field(default=8, metadata={"min": 1, "max": 1024})
    """CPU cores of each process; they decode the images."""
    gpu: GpuName = "a100"
    """GPU whose published rate, link and memory are used for what neither a flag nor --measured says."""
    images_per_s: float | None = field(default=None, metadata={"above": 0, "max": 1_000_000})
    """Images/s that one GPU trains at `micro_batch`. None: published, or measured."""
    loader_images_per_s: float | None = field(default=None, metadata={"above": 0, "max": 1_000_000})
    """Images/s that one CPU core decodes. None: 602, as in trainer/RESULTS.md, or measured."""
    nvlink_gb_s: float | None = field(default=None, metadata={"above": 0, "max": 100_000})
    """Line rate of a GPU to those in its node, GB/s each way. None: that of `gpu`."""
    network_gb_s: float = field(default=25.0, metadata={"above": 0, "max": 100_000})
    """Line rate of a node's network, GB/s each way. 200 Gbit/s are 25."""
    latency_us: float = field(default=10.0, metadata={"min": 0, "max": 1_000_000})
    """Latency of a message from node to node, microseconds."""
    train_images: int = field(default=1_281_167, metadata={"min": 1, "max": 1_000_000_000})
    """Training images; ImageNet's by default."""
    val_images: int = field(default=50_000, metadata={"min": 0, "max": 1_000_000_000})
    """Images that are evaluated after each epoch; ImageNet's by default."""
    image_kb: float = field(default=110.0, metadata={"above": 0, "max": 1_000_000})
    """Mean size of an encoded training image, kilobytes; ImageNet's by default."""
    hours: float = field(default=24.0, metadata={"above": 0, "max": 10_000})
    """Time limit of a job, hours. The next job goes on with the rest."""
    startup_s: float = field(default=120.0, metadata={"min": 0, "max": 86_400})
    """Seconds of each job until its first step: imports, manifests, checkpoint, first batch."""
    queue_minutes: float = field(default=10.0, metadata={"min": 0, "max": 100_000})
    """Minutes that a job waits in the queue when it is started again."""
    save_minutes: float = field(default=15.0, metadata={"above": 0, "max": 1_000_000})
    """Minutes from one checkpoint to the next; each epoch ends with one as well."""
    measured: Path | None = None
    """What `provenet doctor RECIPE --json FILE` measured of one process. None: published rates."""


def plan_problems(config: PlanConfig) -> list[str]:
    """Values that are each in range but do not fit together."""
    problems: list[str] = []
    node, total = config.gpus_per_node, config.nodes * config.gpus_per_node
    if total > MOST_GPUS:
        most = f"a plan goes to {MOST_GPUS:,}, so use at most {MOST_GPUS // node}"
        problems.append(f"--nodes: {config.nodes} of {node} GPUs make {total:,}; {most}")
    if config.measured:
        speeds = {"--images-per-s": config.images_per_s, "--loader-images-per-s": config.loader_images_per_s}
        problems += [f"{flag}: --measured gives it too; leave one out" for flag, value in speeds.items() if value]
    return problems
