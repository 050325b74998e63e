"""Marks around an object: closed loops (circles), open ones, boxes with a side missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.scenes.drawing import Drawing, Rng, by_hand, turned
from training.scenes.strokes import Path, low_noise, resample
from training.scenes.targets import Target

Points = NDArray[np.float64]

_RING = np.linspace(-np.pi, np.pi, 72, endpoint=False)  # angles at which a loop is planned


def _lasso(rng: Rng, target: Target, width: float) -> tuple[Points, Points]:
    """A loop that follows the outline loosely: centre (2,), offsets (72, 2)."""
    centre = np.asarray(target.centre, np.float64)
    rel = target.hull - centre
    angles = np.arctan2(rel[:, 1], rel[:, 0])
    order = np.argsort(angles)
    radius = np.interp(
        _RING, angles[order], np.hypot(rel[:, 0], rel[:, 1])[order], period=2 * np.pi
    )
    for _ in range(int(rng.integers(1, 4))):
        radius = 0.5 * radius + 0.25 * (np.roll(radius, 3) + np.roll(radius, -3))
    radius = radius * rng.uniform(1.06, 1.3) + width * rng.uniform(0.3, 1.5)
    return centre, np.stack([np.cos(_RING), np.sin(_RING)], axis=1) * radius[:, None]


def _oval(rng: Rng, target: Target, width: float) -> tuple[Points, Points]:
    """An ellipse, an egg or a rounded box: centre (2,), offsets (72, 2)."""
    style = rng.choice(["ellipse", "tilted", "egg", "box"], p=[0.42, 0.26, 0.17, 0.15])
    tilt = 0.0
    if style == "tilted":
        tilt = target.axis
    elif rng.random() < 0.5:
        tilt = float(rng.uniform(-0.25, 0.25))
    level = turned(target.hull, -tilt)
    low, high = level.min(axis=0), level.max(axis=0)
    half = (high - low) / 2 * rng.uniform(1.02, 1.34) + width * rng.uniform(0.3, 1.2)
    half = np.maximum(half, half.max() * rng.uniform(0.3, 0.6))
    power = float(rng.uniform(2.8, 5.0)) if style == "box" else float(rng.uniform(1.9, 2.3))
    c, s = np.cos(_RING - tilt), np.sin(_RING - tilt)
    unit = np.stack(
        [np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)], axis=1
    )
    if style == "egg":
        lean = rng.uniform(0, 2 * np.pi)
        unit *= (1 + rng.uniform(0.06, 0.16) * np.cos(_RING - lean))[:, None]
    centre = turned(((low + high) / 2)[None], tilt)[0] + rng.normal(0, 0.03, 2) * (high - low)
    return centre, turned(unit * half, tilt)


def _around(rng: Rng, target: Target, width: float, start: float, turns: float) -> Path:
    """A path around the object from the angle ``start`` on, ``turns`` (signed) of a full turn."""
    t = np.linspace(0.0, 1.0, int(72 * max(1.0, abs(turns))))
    angles = start + 2 * np.pi * turns * t
    plan = _lasso if rng.random() < 0.22 else _oval
    centre, offsets = plan(rng, target, width)
    reach = np.stack([np.interp(angles, _RING, offsets[:, i], period=2 * np.pi) for i in (0, 1)], 1)
    drift = rng.uniform(-0.13, 0.13) if abs(turns) > 0.95 else rng.uniform(-0.04, 0.04)
    uneven = rng.uniform(0.01, 0.05) * low_noise(rng, len(t), cycles=3.0 * abs(turns))
    path = centre + reach * (1 + drift * (t - 0.5) + uneven)[:, None]
    if rng.random() < 0.25:  # touch screens report few points, joined by straight lines
        return _kept_in(target, resample(path, int(rng.integers(20, 40))), width)
    return _kept_in(target, path, width)


def _kept_in(target: Target, path: NDArray[np.floating], width: float) -> Path:
    """The path, held back at the border of the photo as by a hand that stays on it."""
    inset = width * 0.5 + 1
    x0, y0, x1, y1 = target.room
    kept = np.clip(path, (x0 + inset, y0 + inset), (x1 - inset, y1 - inset))
    return np.asarray(kept, np.float32)


def circle(rng: Rng, target: Target, width: float) -> Drawing:
    """A closed or nearly closed loop around the object; one turn, sometimes two."""
    start = rng.uniform(-np.pi, np.pi)
    if rng.random() < 0.6:
        start = -np.pi / 2 + rng.normal(0, 0.7)
    turns = rng.uniform(0.9, 1.2)
    if rng.random() < 0.13:
        turns = rng.uniform(1.6, 2.3)
    path = _around(rng, target, width, start, turns * (1 if rng.random() < 0.35 else -1))
    return Drawing("circle", (path,), encloses=True)


def open_loop(rng: Rng, target: Target, width: float) -> Drawing:
    """A C or a U around the object: a quarter to almost a half of the turn is missing."""
    start = rng.uniform(-np.pi, np.pi)
    turns = rng.uniform(0.56, 0.75) * (1 if rng.random() < 0.5 else -1)
    return Drawing("other", (_around(rng, target, width, start, turns),), encloses=True)


def open_box(rng: Rng, target: Target, width: float) -> Drawing:
    """Three sides of a box around the object."""
    x0, y0, x1, y1 = target.box
    span = np.array([x1 - x0, y1 - y0])
    margin = span * rng.uniform(0.03, 0.15, 2) + width
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    corners += np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * margin
    corners = np.roll(corners, int(rng.integers(4)), axis=0) + rng.normal(0, 0.02, (4, 2)) * span
    path = _kept_in(target, corners, width)
    size = float(np.abs(np.diff(path, axis=0)).sum())
    return Drawing("other", (by_hand(rng, path, size * 0.6, curve=False),), encloses=True)
