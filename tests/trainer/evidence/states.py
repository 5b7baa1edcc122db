"""What a run is between two steps, of a network of one weight."""

from typing import Any

import torch
from torch import nn

from trainer.engine.state import TrainState
from trainer.metrics import FIELDS


def state(**fields: Any) -> TrainState:
    """A state with these fields, the others as they are at the start."""
    model = nn.Linear(1, 1)
    return TrainState(
        model=model,
        optimizer=torch.optim.SGD(model.parameters()),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=None,
        sums=torch.zeros(FIELDS),
        faults=torch.zeros(2),
        **fields,
    )
