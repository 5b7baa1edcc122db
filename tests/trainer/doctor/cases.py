"""Figures of machines that one can reckon with by hand."""

from pathlib import Path

from trainer.doctor.bound import Figures, Pace, Place, Saving
from trainer.recipe.config import Recipe, SiteConfig

GPU = Figures(
    place=Place(gpu=True, own_cores=8, threads=2, world_size=1, backend="threads"),
    recipe=Recipe(epochs=10, global_batch=100, micro_batch=50),
    site=SiteConfig(data=Path(), output=Path()),
    images={"train": 1000, "val": 100},
    load=Pace(0.010, 0.020),
    together=Pace(0.010, 0.021),
    step=Pace(0.005, 0.001),
    evaluation=Pace(0.002, 0.004),
    saving=Saving(hold_s=0.01, write_s=0.1, cost_s=0.01, bytes=1000),
)
CPU = Figures(
    place=Place(gpu=False, own_cores=2, threads=2, world_size=1, backend="threads"),
    recipe=Recipe(epochs=90, global_batch=100, micro_batch=50),
    site=SiteConfig(data=Path(), output=Path(), save_steps=10),
    images={"train": 10_000, "val": 1000},
    load=Pace(0.002, 0.004),
    together=Pace(0.0055, 0.011),
    step=Pace(0.003, 0.006),
    evaluation=Pace(0.004, 0.008),
    saving=Saving(hold_s=0.1, write_s=0.4, cost_s=0.43, bytes=1000),
)
