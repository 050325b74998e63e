"""Marks as a program's drawing tools make them: straight lines, true ellipses, no hand in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.scenes.drawing import Drawing, Rng, turned
from training.scenes.strokes import Path, resample

_SLANT = 0.09  # radians: a line that lies flatter or steeper may be print


def _straight(*points: np.ndarray) -> Path:
    return resample(np.asarray(points, np.float64), 32)


def _arrow(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    reach = float(np.hypot(*half))
    to = turned(np.array([[1.0, 0.0]]), rng.uniform(-np.pi, np.pi))[0]
    tail, tip = centre - to * reach, centre + to * reach
    size = max(reach * rng.uniform(0.25, 0.6), 2.5 * width)
    spread = rng.uniform(0.35, 0.8)
    left, right = (tip - turned(to[None], turn)[0] * size for turn in (spread, -spread))
    filled = bool(rng.random() < 0.4)
    head = [tip, left, right, tip] if filled else [left, tip, right]
    strokes = (_straight(tail, tip), np.asarray(head, np.float32))
    return Drawing("arrow", strokes, (False, filled), tip=(float(tip[0]), float(tip[1])),
                   heading=(float(to[0]), float(to[1])))  # fmt: skip


def _line(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    angle = rng.uniform(_SLANT, np.pi / 2 - _SLANT) + rng.integers(4) * np.pi / 2
    to = turned(np.array([[float(np.hypot(*half)), 0.0]]), angle)[0]
    return Drawing("line", (_straight(centre - to, centre + to),))


def _circle(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    angle = np.linspace(0, 2 * np.pi, 73)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * half
    return Drawing("circle", ((centre + ring).astype(np.float32),), encloses=True)


def _cross(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    half = np.full(2, float(half.min()) if rng.random() < 0.7 else float(half.max()))
    ends = np.array([[1, 1], [1, -1]]) if rng.random() < 0.75 else np.array([[1, 0], [0, 1]])
    return Drawing("cross", tuple(_straight(centre - e * half, centre + e * half) for e in ends))


def _tick(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    size = float(half.max())
    corner = np.array([rng.uniform(-0.5, -0.1), rng.uniform(0.4, 0.8)])
    start = np.array([-1.0, rng.uniform(-0.3, 0.3)])
    end = np.array([1.0, rng.uniform(-1.1, -0.6)])
    return Drawing("tick", (_straight(*(centre + p * size for p in (start, corner, end))),))


def _dot(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    angle = np.linspace(0, 2 * np.pi, 40)
    radius = max(float(half.min()) * rng.uniform(0.1, 0.4), 0.75 * width, 2.5)
    ring = centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Drawing("dot", (ring.astype(np.float32),), (True,))


def _zigzag(rng: Rng, centre: np.ndarray, half: np.ndarray, width: float) -> Drawing:
    count = int(rng.integers(5, 15))
    x = np.linspace(-1, 1, count)
    y = np.where(np.arange(count) % 2, 1.0, -1.0) * rng.uniform(0.25, 0.9)
    points = turned(np.stack([x, y], 1) * half.max(), rng.normal(0, 0.4)) + centre
    return Drawing("other", (points.astype(np.float32),))


TOOLS: dict[str, Callable[[Rng, np.ndarray, np.ndarray, float], Drawing]] = {
    "arrow": _arrow, "circle": _circle, "cross": _cross, "dot": _dot, "line": _line,
    "tick": _tick, "other": _zigzag,
}  # fmt: skip
"""How a tool draws every kind: from the middle (xy), half of its sides and the stroke's width."""
