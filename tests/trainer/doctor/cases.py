"""Figures of machines that one can reckon with by hand."""

from trainer.doctor.figures import Figures, Job, Pace, Place, Saving

GPU = Figures(
    place=Place(gpu=True, own_cores=8, cores=8, left=8, threads=2, world_size=1, backend="threads"),
    job=Job(
        images=1000,
        evaluated=100,
        epochs=10,
        global_batch=100,
        micro_batch=50,
        save_steps=None,
        save_minutes=15,
    ),
    load=Pace(0.010, 0.020),
    step=Pace(0.005, 0.001),
    together=Pace(0.010, 0.021),
    evaluation=Pace(0.002, 0.004),
    evaluation_wait=0.5,
    saving=Saving(hold_s=0.01, write_s=0.1, write_cpu_s=0.0, bytes=1000, disk="/tmp"),
)
CPU = Figures(
    place=Place(gpu=False, own_cores=2, cores=2, left=2, threads=2, world_size=1, backend="threads"),
    job=Job(
        images=10_000,
        evaluated=1000,
        epochs=90,
        global_batch=100,
        micro_batch=50,
        save_steps=10,
        save_minutes=15,
    ),
    load=Pace(0.002, 0.004),
    step=Pace(0.003, 0.006),
    together=Pace(0.0055, 0.011),
    evaluation=Pace(0.004, 0.008),
    evaluation_wait=0.1,
    saving=Saving(hold_s=0.1, write_s=0.4, write_cpu_s=0.6, bytes=1000, disk="/tmp"),
)
