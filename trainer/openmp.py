"""How OpenMP's threads wait, decided before torch loads it. Standard library only."""

import os


def rest_at_barriers() -> None:
    """Before torch loads OpenMP, whose threads spin at a barrier and so stall each other on a core that is shared.

    Measured on 2 cores beside another program: 3 images/s spinning, 80 asleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
