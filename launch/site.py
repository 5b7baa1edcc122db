"""What is asked of the cluster. Standard library only."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Nodes, processes and time of a job. Nothing here changes what is learned."""

    nodes: int = field(default=1, metadata={"min": 1, "max": 10_000})
    """Nodes: 1 to 10,000."""
    gpus_per_node: int = field(default=0, metadata={"min": 0, "max": 64})
    """GPUs on each node, 0 to 64, one process for each; 0 trains on CPUs."""
    processes_per_node: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """Processes on each node without GPUs, 1 to 1,024. None: one for each GPU, or one."""
    cpus_per_process: int = field(default=1, metadata={"min": 1, "max": 1024})
    """CPU cores of each process, 1 to 1,024; they decode the images. ImageNet on one fast GPU keeps 8 to 16 busy."""
    memory_gb: float | None = field(default=None, metadata={"above": 0, "max": 100_000})
    """Main memory of each node, GB: above 0, at most 100,000. None: the partition's default."""
    hours: float = field(default=24.0, metadata={"above": 0, "max": 10_000})
    """Time limit, hours: above 0, at most 10,000. The same submission goes on from the newest checkpoint."""
    partition: str | None = None
    """Partition (queue). None: the cluster's default."""
    account: str | None = None
    """Account to charge. None: the user's default."""
    qos: str | None = None
    """Quality of service. None: the account's default."""

    @property
    def tasks_per_node(self) -> int:
        """Processes on each node."""
        return self.gpus_per_node or self.processes_per_node or 1

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.nodes * self.tasks_per_node


def cluster_problems(cluster: ClusterConfig) -> list[str]:
    """Values that are each in range but do not fit together."""
    processes, gpus = cluster.processes_per_node, cluster.gpus_per_node
    if processes is None or gpus in (0, processes):
        return []
    return [f"--processes-per-node: {processes}, but --gpus-per-node {gpus} brings a process for each; leave it out"]
