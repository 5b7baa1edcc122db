"""The classes of the synthetic data set: a shape filled with a texture, both functions of the object's own plane.

A shape takes coordinates in radii: it is negative inside, 0 on the outline. A texture takes coordinates in radians, a
period being about 2 pi, and seven random phases: it is positive where the lighter colour is. All are symmetric under
reflection, so that a flipped image is of the same class.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Shape = Callable[[Plane, Plane], Plane]
Texture = Callable[[Plane, Plane, list[float]], Plane]


def _disk(x: Plane, y: Plane) -> Plane:
    return np.hypot(x, y) - 0.85


def _ring(x: Plane, y: Plane) -> Plane:
    return np.abs(np.hypot(x, y) - 0.62) - 0.32


def _crescent(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.hypot(x, y) - 0.95, 0.6 - np.hypot(x, y - 0.5))


def _cross(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 0.95, np.minimum(x, y) - 0.33)


def _heart(x: Plane, y: Plane) -> Plane:
    """A square on its corner, with a half disk on each of its upper sides."""
    x, y = np.abs(x), y + 0.08
    along, across = (x + y) * math.sqrt(0.5), (y - x) * math.sqrt(0.5)
    square = np.maximum(np.abs(along), np.abs(across)) - 0.56
    return np.minimum(square, np.hypot(along - 0.56, across) - 0.56)


def _star(x: Plane, y: Plane, *, points: int, inner: float, radius: float) -> Plane:
    """A star whose notches are at inner * radius; at inner = cos(pi / points), a regular polygon."""
    half = math.pi / points
    angle = np.abs(np.mod(np.arctan2(x, y) + half, 2 * half) - half)  # folded: 0 at a tip
    normal = math.atan2(1 - inner * math.cos(half), inner * math.sin(half))
    return np.hypot(x, y) * np.cos(angle - normal) - radius * math.cos(normal)


def _stripes(u: Plane, v: Plane, phases: list[float]) -> Plane:
    return np.sin(1.2 * u + phases[0]) + 0 * v


def _checks(u: Plane, v: Plane, phases: list[float]) -> Plane:
    return np.sin(0.6 * u + phases[0]) * np.sin(0.6 * v + phases[1])


def _dots(u: Plane, v: Plane, phases: list[float]) -> Plane:
    return np.cos(1.15 * u + phases[0]) + np.cos(1.15 * v + phases[1]) - 0.8


def _ripples(u: Plane, v: Plane, phases: list[float]) -> Plane:
    away = np.hypot(u - 7 * math.cos(phases[0]), v - 7 * math.sin(phases[0]))  # from a point inside the outline
    return np.sin(1.05 * away + phases[1])


def _marble(u: Plane, v: Plane, phases: list[float]) -> Plane:
    """Waves of one length from all directions: irregular blots."""
    total = np.zeros_like(u)
    for number, phase in enumerate(phases):
        turn = math.pi * number / len(phases)
        total += np.sin(0.7 * (math.cos(turn) * u + math.sin(turn) * v) + phase)
    return total / math.sqrt(len(phases))


SHAPES: dict[str, Shape] = {
    "disk": _disk,
    "cross": _cross,
    "triangle": partial(_star, points=3, inner=0.5, radius=1.15),
    "ring": _ring,
    "star": partial(_star, points=5, inner=0.48, radius=1.1),
    "square": partial(_star, points=4, inner=math.sqrt(0.5), radius=1.05),
    "crescent": _crescent,
    "heart": _heart,
}
TEXTURES: dict[str, Texture] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "ripples": _ripples,
    "marble": _marble,
}


def _pairs() -> Iterator[tuple[str, str]]:
    shapes, textures = list(SHAPES), list(TEXTURES)
    for number in range(20):  # five shapes by four textures: each ten classes hold each of the five twice
        yield shapes[number // 2 % 5], textures[(number // 10 * 2 + (number + 1) // 2) % 5]
    for number in range(5):
        yield shapes[number], textures[(number + 4) % 5]
    yield from product(shapes[5:], textures)


CLASSES: tuple[tuple[str, str], ...] = tuple(_pairs())
"""Shape and texture of each class. Among the first ten, neither alone determines the class."""
