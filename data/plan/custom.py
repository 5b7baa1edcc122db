"""Augmentations of your own: functions, and policies that draw them. Standard library only.

A recipe names a policy in `input.augment.policy`. Each image draws one of its pairs, all as likely, and goes through
both operations, each with its probability. An operation is an `Op`, whose magnitudes are AutoAugment's, or a function
in this file. A function takes images (N, 3, H, W) uint8 and a number from 0 to 1 for each, its magnitude over 9; it
gives images like these, and makes nothing of an image that depends on the others or on chance.
"""

from data.plan.operations import Op as Op  # for what follows
from data.plan.operations import Pair

POLICIES: dict[str, tuple[Pair, ...]] = {}
