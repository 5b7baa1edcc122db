"""Which numbers of a record are times and sizes, that no two runs have in common. Standard library only."""

MEASURED = frozenset(
    {
        *("images_per_s", "images_per_s_per_device", "tflops_per_s", "mfu"),
        *("step_p50_ms", "step_p95_ms", "step_max_ms", "evaluation_s", "epoch_s", "time"),
        *("data_wait", "forward", "backward", "all_reduce", "optimizer", "checkpoint", "other", "host_to_device"),
        *("memory_gb", "device_memory_gb", "host_memory_gb", "power_w", "restarts", "lost_output"),
        *("slowest_rank", "slowest_ratio", "slow_points"),
    }
)
"""Fields of metrics.jsonl; all others are the same to the bit however often a run was stopped."""
