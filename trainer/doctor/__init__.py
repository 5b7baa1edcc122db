"""Finds what limits the speed of a run on this machine, and which settings to change."""
