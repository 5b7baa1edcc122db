"""What the training loop works with."""

from dataclasses import dataclass

from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Loader
from trainer.context import RunContext
from trainer.engine.boundary import Keeper
from trainer.engine.meter import Meter
from trainer.engine.state import TrainState
from trainer.engine.step import Normalize, TrainStep
from trainer.telemetry.profiler import Profiler
from trainer.telemetry.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A run that is built and ready to train."""

    context: RunContext
    train_loader: Loader
    eval_loader: Loader
    train_step: TrainStep
    normalize: Normalize
    state: TrainState
    keeper: Keeper
    plan: TrainPlan
    eval_plan: EvalPlan
    meter: Meter
    profiler: Profiler
    telemetry: Telemetry | None
    """On rank 0 only."""

    @property
    def steps_per_epoch(self) -> int:
        return self.plan.steps_per_epoch

    @property
    def total_steps(self) -> int:
        return self.context.recipe.epochs * self.steps_per_epoch
