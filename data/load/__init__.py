"""Backends that carry a plan out."""
