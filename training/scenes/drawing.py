"""A mark's strokes before a pen is put to them, and what a hand does to a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.scenes.strokes import Path, resample, shake, spline
from training.scenes.targets import Target

Rng = np.random.Generator


@dataclass(frozen=True)
class Drawing:
    """The paths of a mark's strokes, and how it says what it means.

    A mark with none of ``tip``, ``encloses``, ``beside`` means what it lies on.
    """

    kind: str
    strokes: tuple[Path, ...]
    filled: tuple[bool, ...] = ()  # per stroke; empty: none is
    tip: tuple[float, float] | None = None  # an arrow's
    heading: tuple[float, float] | None = None  # unit vector in which the arrow points
    encloses: bool = False  # the (nearly closed) first stroke surrounds what is meant
    beside: tuple[float, float] | None = None  # unit vector from the ink towards what is meant


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, small ones as likely as their multiples."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def turned(points: NDArray[np.floating], angle: float) -> NDArray[np.float64]:
    """``points`` (n, 2) turned about the origin, from x towards y for positive angles."""
    c, s = np.cos(angle), np.sin(angle)
    out: NDArray[np.float64] = np.asarray(points, np.float64) @ np.array([[c, s], [-s, c]])
    return out


def anchor(rng: Rng, target: Target) -> NDArray[np.float32]:  # (2,) xy
    """A point to draw on: mostly near the middle, sometimes anywhere well inside."""
    point: NDArray[np.float32] = target.inner[int(rng.integers(len(target.inner)))]
    if rng.random() < 0.5:
        nearest = np.argmin(((target.inner - target.centre) ** 2).sum(axis=1))
        point = point * 0.25 + target.inner[nearest] * 0.75
    return point


def extent(rng: Rng, target: Target, width: float, low: float, high: float) -> float:
    """A mark's size: ``low`` to ``high`` of the object's, but large enough to be made out."""
    return max(log_uniform(rng, low, high) * target.size, 4.0 * width, target.least, 9.0)


def by_hand(rng: Rng, points: NDArray[np.floating], size: float, *, curve: bool = True) -> Path:
    """A line through ``points`` as a hand draws it; it sways more the larger ``size`` is.

    ``curve`` rounds the corners. The ends stay where they are.
    """
    path = spline(points, 8) if curve else np.asarray(points, np.float32)
    path = resample(path, int(np.clip(size / 3, 14, 64)))
    return shake(
        rng, path, sway=size * float(rng.uniform(0.004, 0.02)),
        tremor=size * float(rng.uniform(0.0, 0.004)), pin=True,
    )  # fmt: skip
