"""What is asked of the cluster. Standard library only."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Nodes, processes and time of a job. Nothing here changes what is learned."""

    nodes: int = field(default=1, metadata={"min": 1})
    """Nodes."""
    gpus_per_node: int = field(default=0, metadata={"min": 0})
    """GPUs on each node, one process for each; 0 trains on CPUs."""
    processes_per_node: int = field(default=1, metadata={"min": 1})
    """Processes on each node, where there are no GPUs."""
    cpus_per_process: int = field(default=1, metadata={"min": 1})
    """CPU cores of each process; they decode the images. ImageNet on one fast GPU keeps 8 to 16 busy."""
    memory_gb: float | None = field(default=None, metadata={"above": 0})
    """Main memory of each node, GB. None: the partition's default."""
    hours: float = field(default=24.0, metadata={"above": 0})
    """Time limit. The same submission goes on from the newest checkpoint."""
    partition: str | None = None
    """Partition (queue). None: the cluster's default."""
    account: str | None = None
    """Account to charge. None: the user's default."""
    qos: str | None = None
    """Quality of service. None: the account's default."""

    @property
    def tasks_per_node(self) -> int:
        """Processes on each node."""
        return self.gpus_per_node or self.processes_per_node

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.nodes * self.tasks_per_node
