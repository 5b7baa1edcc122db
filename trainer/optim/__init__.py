"""Optimizers, losses, mixed images, averaged weights and BatchNorm's statistics, and their configs."""
