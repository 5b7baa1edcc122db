"""`--profile STEPS`: a trace of some steps of each process, for TensorBoard and Perfetto."""

from contextlib import ExitStack

from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from trainer.context import RunContext

SETTLED = 10  # steps after which the loader's queues are full and cuDNN has chosen its algorithms
WARM = 2  # steps in which the profiler starts; they are not recorded


class Profiler:
    """Counts steps, and records some of them if the site asks for it; results do not change."""

    def __init__(self, context: RunContext, left: int, stack: ExitStack) -> None:
        """Begin to count; with few steps `left` to the end of the run, recording begins sooner or is shorter.

        `stack` ends the recording, and keeps that of a run that ends early.
        """
        self._profile: profile | None = None
        steps = min(context.site.profile or 0, left - 1)  # the first step under the profiler is too slow to count
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
        """Count a finished step."""
        if self._profile:
            self._profile.step()
