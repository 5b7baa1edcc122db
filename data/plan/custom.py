"""Your own augmentations: functions, and policies that use them. Standard library only.

A recipe names a policy in `input.augment.policy`. For each image one pair of operations is drawn at random, and each of
them is applied with its probability. An operation is an `Op`, with AutoAugment's magnitudes, or a function in this
file. A function takes images (N, 3, H, W) uint8 and for each a number from 0 to 1, its magnitude divided by 9, and
returns such images. The result for an image must depend neither on the other images nor on random numbers.
"""

from data.plan.operations import Op as Op  # for your functions and policies
from data.plan.operations import Pair

POLICIES: dict[str, tuple[Pair, ...]] = {}
