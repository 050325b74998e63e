"""The shapes of marks, as the paths a hand takes; nothing here knows pixels or pens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.scenes.drawing import (
    Drawing,
    Rng,
    anchor,
    by_hand,
    extent,
    log_uniform,
    turned,
)
from training.scenes.loops import circle, open_box, open_loop
from training.scenes.strokes import Path, low_noise, shake
from training.scenes.targets import Target


def arrow(rng: Rng, target: Target, width: float) -> Drawing:
    """A shaft and a head; the tip on the object or shortly before it."""
    x0, y0, x1, y1 = target.room
    diagonal = float(np.hypot(x1 - x0, y1 - y0))
    aim = target.inner[int(rng.integers(len(target.inner)))].astype(np.float64)
    angle = rng.uniform(0, 2 * np.pi)
    to = np.array([np.cos(angle), np.sin(angle)])
    border = max(0.0, float(np.max((target.hull - aim) @ -to)))  # how far the hull reaches back
    tip = aim - to * border * rng.uniform(0.0, 1.0)
    if rng.random() < 0.4:
        tip = aim - to * (border + rng.uniform(0.0, 0.03) * diagonal)
    reach = max(log_uniform(rng, 0.06, 0.45) * diagonal, 7 * width, 20.0)
    side = np.array([-to[1], to[0]])
    bend = rng.normal(0, 0.12) * reach if rng.random() < 0.6 else 0.0
    tail = tip - to * reach
    control = (tip + tail) / 2 + side * bend
    t = np.linspace(0, 1, 24)[:, None]
    shaft = (1 - t) ** 2 * tail + 2 * t * (1 - t) * control + t**2 * tip
    shaft = by_hand(rng, shaft, reach, curve=False)
    back = (shaft[-1] - shaft[int(len(shaft) * 0.75)]).astype(np.float64)
    heading = back / max(float(np.hypot(*back)), 1e-6)
    strokes, filled = _head(rng, shaft, tip, heading, width, reach)
    if rng.random() < 0.1:
        again = shaft + side * width * rng.uniform(0.5, 1.4)
        strokes.append(shake(rng, again.astype(np.float32), sway=reach * 0.015))
        filled.append(False)
    return Drawing(
        "arrow", tuple(strokes), tuple(filled), tip=(float(tip[0]), float(tip[1])),
        heading=(float(heading[0]), float(heading[1])),
    )  # fmt: skip


def _head(
    rng: Rng, shaft: Path, tip: np.ndarray, heading: np.ndarray, width: float, reach: float
) -> tuple[list[Path], list[bool]]:
    """The strokes of an arrow, its shaft first, and which of them are filled in."""
    size = min(max(reach * rng.uniform(0.16, 0.38), 2.8 * width + 3), 0.5 * reach + width)
    spread = rng.uniform(0.38, 0.8, 2)
    barbs = [
        tip - turned(heading[None], turn)[0] * size * rng.uniform(0.85, 1.15)
        for turn in (spread[0], -spread[1])
    ]
    loose = rng.normal(0, 0.35 * width, (3, 2))
    style = rng.choice(
        ["vee", "strokes", "one", "triangle", "half"], p=[0.24, 0.24, 0.2, 0.22, 0.1]
    )
    if style == "one":  # the pen is not lifted
        zigzag = np.array([tip, barbs[0], tip + loose[0], barbs[1]])
        return [np.concatenate([shaft, by_hand(rng, zigzag, size * 2, curve=False)])], [False]
    if style == "vee":
        vee = np.array([barbs[0], tip + loose[0] * 0.5, barbs[1]])
        return [shaft, by_hand(rng, vee, size * 2, curve=False)], [False, False]
    if style == "triangle":
        closed = by_hand(rng, np.array([tip, barbs[0], barbs[1], tip]), size * 2, curve=False)
        return [shaft, closed], [False, bool(rng.random() < 0.75)]
    sides = [by_hand(rng, np.array([tip + o, b]), size) for o, b in zip(loose, barbs, strict=False)]
    if style == "half":
        sides = sides[:1]
    return [shaft, *sides], [False] * (1 + len(sides))


def tick(rng: Rng, target: Target, width: float) -> Drawing:
    """A check mark."""
    size = extent(rng, target, width, 0.12, 1.2)
    down, up = rng.uniform(0.22, 0.5), rng.uniform(0.7, 1.15)
    lean = np.deg2rad(rng.uniform(30, 65)), np.deg2rad(rng.uniform(28, 68))
    start = np.array([-np.cos(lean[0]), -np.sin(lean[0])]) * down
    end = np.array([np.cos(lean[1]), -np.sin(lean[1])]) * up
    middle = end * 0.5 + np.array([end[1], -end[0]]) * rng.normal(0, 0.06)
    corner = [np.zeros(2)]
    if rng.random() < 0.5:  # rounded
        corner = [start * 0.15, np.array([0.03, 0.02]), end * 0.12]
    shape = np.array([start, start * 0.5 + rng.normal(0, 0.02, 2), *corner, middle, end]) * size
    shape = turned(shape, rng.normal(0, 0.12))
    if rng.random() < 0.06:
        shape[:, 0] *= -1
    shape += anchor(rng, target) - (shape.min(axis=0) + shape.max(axis=0)) / 2
    return Drawing("tick", (by_hand(rng, shape, size * 1.3, curve=bool(rng.random() < 0.7)),))


def cross(rng: Rng, target: Target, width: float) -> Drawing:
    """An x or a plus sign of two strokes, sometimes without lifting the pen."""
    size = extent(rng, target, width, 0.12, 1.0)
    turn = rng.normal(0, 0.12) + (np.pi / 4 if rng.random() < 0.75 else 0.0)
    centre = anchor(rng, target)
    lines = []
    for angle in (turn, turn + np.pi / 2 + rng.normal(0, 0.12)):
        to = np.array([np.cos(angle), np.sin(angle)]) * size * rng.uniform(0.42, 0.6)
        bow = np.array([-to[1], to[0]]) * rng.normal(0, 0.06)
        points = np.array([-to * rng.uniform(0.8, 1.1), bow, to])
        lines.append(by_hand(rng, points + centre + rng.normal(0, 0.04, 2) * size, size))
    if rng.random() < 0.12:
        lines = [np.concatenate(lines)]
    return Drawing("cross", tuple(lines))


def dot(rng: Rng, target: Target, width: float) -> Drawing:
    """A blob: a tap, a tiny spiral, or a small ring filled in."""
    radius = max(log_uniform(rng, 0.03, 0.14) * target.size, 0.75 * width, target.least / 4, 2.5)
    centre = anchor(rng, target)
    t = np.linspace(0, 1, 28)
    if rng.random() < 0.35:
        angle = 2 * np.pi * rng.uniform(1.5, 3.0) * t + rng.uniform(0, 6)
        reach = radius * (0.15 + 0.85 * t) * np.clip(1 - 0.4 * width / radius, 0.3, 1)
        path = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]
        return Drawing("dot", (path.astype(np.float32),), (radius > 1.2 * width,))
    reach = max(radius - width / 2, 0.3) * (1 + 0.08 * low_noise(rng, len(t), waves=3))
    ring = np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], 1) * reach[:, None]
    ring = turned(ring * [1.0, rng.uniform(0.75, 1.0)], rng.uniform(0, np.pi))
    return Drawing("dot", ((centre + ring).astype(np.float32),), (True,))


def line(rng: Rng, target: Target, width: float) -> Drawing:
    """A straight-ish stroke on the object."""
    size = extent(rng, target, width, 0.25, 1.3)
    angle = float(rng.choice([0.0, -np.pi / 4, np.pi / 4, np.pi / 2], p=[0.45, 0.3, 0.1, 0.15]))
    if rng.random() < 0.2:
        angle = target.axis
    angle += rng.normal(0, 0.15)
    to = np.array([np.cos(angle), np.sin(angle)]) * size / 2
    bow = np.array([-to[1], to[0]]) * rng.normal(0, 0.06)
    return Drawing("line", (by_hand(rng, np.array([-to, bow, to]) + anchor(rng, target), size),))


def _scrawl(rng: Rng, target: Target, width: float) -> Drawing:
    """A zigzag or a wave across the object."""
    size = extent(rng, target, width, 0.25, 1.0)
    count = int(rng.integers(5, 13))
    x = np.linspace(-0.5, 0.5, count) + rng.normal(0, 0.25 / count, count)
    high = rng.uniform(0.12, 0.45)
    y = np.where(np.arange(count) % 2, high, -high) * rng.uniform(0.6, 1.2, count)
    shape = turned(np.stack([x, y], 1) * size, rng.normal(0, 0.5)) + anchor(rng, target)
    return Drawing("other", (by_hand(rng, shape, size * 1.5, curve=bool(rng.random() < 0.7)),))


def _squiggle(rng: Rng, target: Target, width: float) -> Drawing:
    """Loops in a row, or a scribble round and round."""
    size = extent(rng, target, width, 0.25, 0.9)
    t = np.linspace(0, 1, 80)
    around = 2 * np.pi * rng.uniform(2.5, 5.5) * t
    x = (t - 0.5) * rng.uniform(0.3, 1.0) + np.cos(around) * 0.2
    y = np.sin(around) * rng.uniform(0.15, 0.4) * (1 + 0.3 * low_noise(rng, 80))
    shape = turned(np.stack([x, y], 1) * size, rng.uniform(-0.6, 0.6)) + anchor(rng, target)
    return Drawing("other", (by_hand(rng, shape, size * 2),))


def _star(rng: Rng, target: Target, width: float) -> Drawing:
    """A five-pointed star in one stroke."""
    size = max(extent(rng, target, width, 0.2, 0.9), 7 * width)
    angle = -np.pi / 2 + np.arange(6) * 4 * np.pi / 5 + rng.normal(0, 0.1)
    shape = np.stack([np.cos(angle), np.sin(angle)], 1) * size / 2
    shape += rng.normal(0, 0.03, shape.shape) * size + anchor(rng, target)
    return Drawing("other", (by_hand(rng, shape, size * 2, curve=False),))


# Signs in a box from -0.5 to 0.5, one row of points per stroke.
_SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "question": (
        ((-0.28, -0.25), (-0.2, -0.45), (0.05, -0.5), (0.27, -0.35), (0.2, -0.1), (0.02, 0.05),
         (0.0, 0.22)),
        ((0.0, 0.45), (0.02, 0.47)),
    ),
    "exclamation": (((0.0, -0.5), (0.01, 0.0), (0.0, 0.22)), ((0.0, 0.45), (0.02, 0.47))),
    "heart": (
        ((0.0, 0.5), (-0.4, 0.0), (-0.38, -0.3), (-0.15, -0.38), (0.0, -0.12), (0.18, -0.38),
         (0.4, -0.25), (0.36, 0.05), (0.0, 0.48)),
    ),
    "hash": (
        ((-0.2, -0.5), (-0.25, 0.5)), ((0.2, -0.5), (0.17, 0.5)), ((-0.45, -0.17), (0.45, -0.2)),
        ((-0.45, 0.2), (0.45, 0.17)),
    ),
    "spiral": (
        ((0.0, 0.02), (0.1, 0.0), (0.05, 0.14), (-0.13, 0.1), (-0.16, -0.12), (0.08, -0.24),
         (0.3, -0.02), (0.2, 0.3), (-0.2, 0.36), (-0.42, 0.05), (-0.3, -0.4)),
    ),
    "ok": (
        ((-0.25, -0.3), (-0.48, -0.05), (-0.3, 0.3), (-0.08, 0.05), (-0.25, -0.32)),
        ((0.1, -0.35), (0.08, 0.32)), ((0.42, -0.3), (0.12, 0.02), (0.45, 0.33)),
    ),
    "two": (((-0.25, -0.3), (0.0, -0.5), (0.25, -0.3), (0.05, 0.1), (-0.28, 0.48), (0.3, 0.46)),),
}  # fmt: skip


def _sign(rng: Rng, target: Target, width: float) -> Drawing:
    """A question mark, a heart, an "ok" and the like."""
    size = max(extent(rng, target, width, 0.2, 0.9), 7 * width)
    strokes = _SIGNS[str(rng.choice(list(_SIGNS)))]
    scale = size * np.array([rng.uniform(0.75, 1.15), 1.0])
    turn, centre = rng.normal(0, 0.12), anchor(rng, target)
    paths = []
    for points in strokes:
        shape = (np.array(points) + rng.normal(0, 0.02, (len(points), 2))) * scale
        paths.append(by_hand(rng, turned(shape, turn) + centre, size))
    return Drawing("other", tuple(paths))


def _underline(rng: Rng, target: Target, width: float) -> Drawing:
    """A line, two lines or a wave right below the object."""
    x0, _, x1, y1 = target.box
    span = (x1 - x0) * rng.uniform(0.7, 1.15)
    middle = (x0 + x1) / 2 + rng.normal(0, 0.04) * (x1 - x0)
    x = np.linspace(-0.5, 0.5, 15) * span + middle
    y = y1 + width * rng.uniform(0.7, 1.6) + 1 + rng.normal(0, 0.02) * (x - middle)
    style = rng.choice(["plain", "double", "wave"], p=[0.25, 0.4, 0.35])
    if style == "wave":
        high = max(width * 0.8, span * 0.025)
        y += high * (1 + np.where(np.arange(15) % 2, 1, -1))
    strokes = [by_hand(rng, np.stack([x, y], 1), span)]
    if style == "double":
        shorter = (x - middle) * rng.uniform(0.6, 1.0) + middle
        lower = y + width * rng.uniform(1.8, 2.6)
        strokes.append(by_hand(rng, np.stack([shorter, lower], 1), span))
    return Drawing("other", tuple(strokes), beside=(0.0, -1.0))


def _bracket(rng: Rng, target: Target, width: float) -> Drawing:
    """A bracket or a brace beside the object, open towards it."""
    x0, y0, x1, y1 = target.box
    high = (y1 - y0) * rng.uniform(0.8, 1.1)
    deep = float(np.clip(high * rng.uniform(0.08, 0.2), 2.5 * width, 2.5 * width + 0.5 * high))
    if rng.random() < 0.4:
        y = np.array([-0.5, -0.42, -0.12, 0.0, 0.12, 0.42, 0.5])
        x = np.array([1.0, 0.5, 0.5, 0.0, 0.5, 0.5, 1.0]) * deep
    else:
        y = np.array([-0.5, -0.5, 0.5, 0.5])
        x = np.array([1.0, 0.0, 0.0, 1.0]) * deep
    y = y * high + (y0 + y1) / 2
    gap = deep + width * rng.uniform(0.6, 1.5)
    left = bool(rng.random() < 0.5)
    x = x0 - gap + x if left else x1 + gap - x
    path = by_hand(rng, np.stack([x, y], 1), high, curve=bool(rng.random() < 0.5))
    return Drawing("other", (path,), beside=(1.0 if left else -1.0, 0.0))


Shape = Callable[[Rng, Target, float], Drawing]

_OTHERS: tuple[tuple[Shape, float], ...] = (
    (_scrawl, 0.2), (_squiggle, 0.12), (open_loop, 0.26), (open_box, 0.08), (_star, 0.08),
    (_sign, 0.1), (_underline, 0.09), (_bracket, 0.07),
)  # fmt: skip


def other(rng: Rng, target: Target, width: float) -> Drawing:
    """Anything else that people draw."""
    weights = np.array([weight for _, weight in _OTHERS])
    return _OTHERS[int(rng.choice(len(_OTHERS), p=weights / weights.sum()))][0](rng, target, width)


SHAPES: dict[str, Shape] = {
    "arrow": arrow, "circle": circle, "cross": cross, "dot": dot, "line": line, "tick": tick,
    "other": other,
}  # fmt: skip
"""How every kind of mark (``markcut.contracts.KINDS``) is drawn on or around a target."""
