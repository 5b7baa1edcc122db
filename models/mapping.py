"""State dicts between our names and those of timm and torchvision.

Our networks keep the names of the reference wherever it can be done, so the table is short; what it does not rename has
the same name on both sides. `models/validate.py` proves it both ways, key by key.
"""

from collections.abc import Mapping

from torch import Tensor

State = Mapping[str, Tensor]

# By a network's module: (prefix of ours, prefix of theirs). torchvision's names are ours, timm's too but for GhostNet.
RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "models.ghostnet": (("conv1.", "conv_stem."), ("fc.", "classifier.")),
}


def to_reference(state: State, module: str) -> dict[str, Tensor]:
    """Our state dict under the reference's names."""
    return {_renamed(key, RENAMED.get(module, ())): value for key, value in state.items()}


def from_reference(state: State, module: str) -> dict[str, Tensor]:
    """A reference's state dict under our names; one that has them already comes back as it is."""
    backward = tuple((theirs, ours) for ours, theirs in RENAMED.get(module, ()))
    return {_renamed(key, backward): value for key, value in state.items()}


def _renamed(key: str, prefixes: tuple[tuple[str, str], ...]) -> str:
    for old, new in prefixes:
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
