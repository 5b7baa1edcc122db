"""What a plan says of a batch."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.plan.config import Interpolation
from data.plan.draws import Floats, Ints
from data.plan.policies import Choices

MIX_DRAWS = 4  # for each batch: what mixup and cutmix draw

GEOMETRY = ("windows", "sizes", "corners", "shifts")


@dataclass(frozen=True, slots=True)
class Samples:
    """What to do with the N images of one batch: cut `windows`, resize to `sizes`, crop at `corners`, flip, augment."""

    indices: Ints
    """(N,) rows of the manifest."""
    windows: Ints
    """(N, 4) top, left, height, width in the stored image, pixels; black where they lie outside."""
    sizes: Ints
    """(N, 2) height, width that the window is resized to, pixels."""
    corners: Ints
    """(N, 2) top, left of the final square crop in the resized window, pixels."""
    shifts: Ints
    """(N, 2) how far the crop is then moved down and to the right, before a flip, reflecting its own pixels."""
    side: int
    """Of the final square crop, pixels."""
    cubic: NDArray[np.bool_]
    """(N,) resize by Pillow's bicubic filter instead of the bilinear one; both with antialias."""
    flips: NDArray[np.bool_]
    """(N,) mirror left to right."""
    valid: NDArray[np.bool_]
    """(N,) False for rows that only fill the batch up."""
    draws: Floats
    """(N, crops.DRAWS) from which the windows and flips were computed."""
    choices: Choices | None
    """Augmentations, or None."""
    noise: Ints | None
    """(N, 5) what `policies.noise` says, or None."""
    mixing: Floats
    """(MIX_DRAWS,) uniform in [0, 1), for mixup and cutmix."""
    exact: bool = False
    """Whether every pixel must be right, as in evaluation; backends may differ at the border of a training image."""

    def interpolation(self, row: int) -> Interpolation:
        """How the window of a row is resized."""
        return "bicubic" if self.cubic[row] else "bilinear"


def patched(samples: Samples, rows: dict[int, Samples]) -> Samples:
    """A batch in which some rows are those of other versions of it, where their images were replaced."""
    if not rows:
        return samples
    fields = {name: getattr(samples, name).copy() for name in ("indices", *GEOMETRY, "valid")}
    for row, other in rows.items():
        for name, column in fields.items():
            column[row] = getattr(other, name)[row]
    return replace(samples, **fields)
