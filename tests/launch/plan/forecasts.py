"""Forecasts with round numbers."""

from typing import Any

from launch.plan.config import PlanConfig
from launch.plan.forecast import BUCKET, Forecast, Speeds
from launch.plan.network_size import Network
from trainer.recipe.config import Recipe

FOUR_BUCKETS = 4 * BUCKET // 4  # parameters, of four bytes each
PLENTY = 1e12


def forecast(
    *, recipe: Recipe | None = None, parameters: int = FOUR_BUCKETS, cores: float = PLENTY, **config: Any
) -> Forecast:
    """Micro-batches of 100 images at 100 images/s, so that a pass takes a second, on nodes of four GPUs."""
    return Forecast(
        config=PlanConfig(**{"gpus_per_node": 4, "latency_us": 0.0, "network_gb_s": 1.0, **config}),
        recipe=recipe or Recipe(global_batch=800, micro_batch=100),
        network=Network(parameters=parameters, statistics=0, state_bytes=400_000_000, multiply_adds=1, saved=10**7),
        speeds=Speeds(
            images_per_s=100, core_images_per_s=cores, link_gb_s=10, stall_bytes_per_s=8e9, write_bytes_per_s=4e8
        ),
    )
