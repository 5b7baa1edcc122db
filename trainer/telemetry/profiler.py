"""`--profile STEPS`: what each process and its device did in some steps, for TensorBoard and Perfetto."""

from contextlib import ExitStack

from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from trainer.context import RunContext

SETTLED = 10  # steps after which a loader is full and cuDNN has chosen its algorithms
WARM = 2  # steps that the profiler takes to start, and leaves out


class Profiler:
    """Counts steps, and records some of them where the site asks for it. Changes nothing of what is computed."""

    def __init__(self, context: RunContext, left: int, stack: ExitStack) -> None:
        """Begin to count.

        Args:
            context: The run.
            left: Steps to its end; where they are few, the first are recorded too, or fewer.
            stack: Ends the recording; what a run that ends early has recorded is kept.
        """
        self._profile: profile | None = None
        steps = min(context.site.profile or 0, left - 1)  # the first that the profiler sees is skewed
        if steps > 0:
            warm = min(WARM, left - steps)
            folder, rank = context.run.profile, context.runtime.world.rank
            activities = [ProfilerActivity.CPU]
            if context.runtime.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = stack.enter_context(
                profile(
                    activities=activities,
                    schedule=schedule(wait=min(SETTLED, left - steps - warm), warmup=warm, active=steps, repeat=1),
                    on_trace_ready=tensorboard_trace_handler(str(folder), f"rank{rank}", use_gzip=True),
                )
            )

    def step(self) -> None:
        """A step is done."""
        if self._profile:
            self._profile.step()
