"""`--profile STEPS`: what each process and its device did in some steps, for TensorBoard and Perfetto."""

from contextlib import ExitStack

from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from trainer.setup import Setup

SETTLED = 10  # steps after which a loader is full and cuDNN has chosen its algorithms
WARM = 2  # steps that the profiler takes to start, and leaves out


class Profiler:
    """Counts steps, and records some of them where the site asks for it. Changes nothing of what is computed."""

    def __init__(self, setup: Setup, stack: ExitStack) -> None:
        """`stack` ends the recording; what a run that ends early has recorded is kept."""
        self._profile: profile | None = None
        if steps := setup.site.profile:
            folder, rank = setup.run.profile, setup.runtime.world.rank
            activities = [ProfilerActivity.CPU]
            if setup.runtime.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = stack.enter_context(
                profile(
                    activities=activities,
                    schedule=schedule(wait=SETTLED, warmup=WARM, active=steps, repeat=1),
                    on_trace_ready=tensorboard_trace_handler(str(folder), f"rank{rank}", use_gzip=True),
                )
            )

    def step(self) -> None:
        """A step is done."""
        if self._profile:
            self._profile.step()
