"""Rehearse a run on a cluster that fails."""
