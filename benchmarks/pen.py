"""Marks as the pen of a picture program leaves them; the networks were trained on other code's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.scenes import SceneMark

Picture = NDArray[np.uint8]  # (h, w, 3) RGB
Points = NDArray[np.float64]  # (n, 2) xy; a mark's own: its longer side goes from -1 to 1
Rng = np.random.Generator

_COLOURS = (
    (229, 28, 35), (255, 0, 0), (0, 170, 60), (0, 90, 255), (255, 214, 0), (0, 0, 0),
    (255, 255, 255), (255, 0, 160), (255, 128, 0), (130, 40, 200),
)  # fmt: skip
_FINE = 3  # drawn so many times larger, for smooth edges
_WIDTHS = (4, 14)  # pixels of the picture
_RADIUS = (0.07, 0.2)  # of the picture's shorter side
_INK = 0.3  # share of its colour from which a pixel is ink, as in training's scenes
_SHAKE = 0.02


def pen_drawn(rng: Rng, photo: Picture, kind: str) -> tuple[Picture, SceneMark]:
    """``photo`` with a mark of ``kind`` on it, and the mark; its ``instance`` means nothing."""
    height, width = photo.shape[:2]
    radius = float(rng.uniform(*_RADIUS)) * min(height, width)
    stroke = min(float(rng.uniform(*_WIDTHS)), 0.35 * radius)
    room = np.array([width, height]) - 2 * (radius + stroke)
    centre = radius + stroke + rng.random(2) * np.maximum(room, 0)
    layer = Image.new("L", (width * _FINE, height * _FINE))
    for points, filled in _SHAPES[kind](rng):
        shaken = points + rng.normal(0, _SHAKE, points.shape)
        _draw(layer, (centre + radius * shaken) * _FINE, stroke * _FINE, filled)
    cover = np.asarray(layer.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    colour = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))], np.float32)
    picture = photo + cover[..., None] * (colour - photo)
    ink = cover >= _INK
    return np.rint(picture).astype(np.uint8), SceneMark(kind, ink, instance=1, width=stroke)


def _draw(layer: Image.Image, points: Points, stroke: float, filled: bool) -> None:
    pen = ImageDraw.Draw(layer)
    corners = [(float(x), float(y)) for x, y in points]
    if filled:
        pen.polygon(corners, fill=255)
    pen.line(corners, fill=255, width=max(1, round(stroke)), joint="curve")
    for x, y in (corners[0], corners[-1]):
        half = stroke / 2
        pen.ellipse((x - half, y - half, x + half, y + half), fill=255)


Strokes = list[tuple[Points, bool]]  # points, and whether what they enclose is filled


def _turned(points: Points, angle: float) -> Points:
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), np.float64)


def _arrow(rng: Rng) -> Strokes:
    angle = rng.uniform(-np.pi, np.pi)
    length, spread = rng.uniform(0.35, 0.7), rng.uniform(0.4, 0.75)
    back = np.array([[1 - length * np.cos(spread), side * length * np.sin(spread)]
                     for side in (-1, 1)])  # fmt: skip
    head = np.array([back[0], [1.0, 0.0], back[1]])
    filled = bool(rng.random() < 0.3)
    if filled:
        head = np.concatenate([head, head[:1]])
    shaft = np.array([[-1.0, 0.0], [0.0, rng.normal(0, 0.08)], [1.0, 0.0]])
    return [(_turned(shaft, angle), False), (_turned(head, angle), filled)]


def _circle(rng: Rng) -> Strokes:
    angle = np.linspace(0, 2 * np.pi * rng.uniform(1.0, 1.06), 40) + rng.uniform(0, 2 * np.pi)
    ring = np.stack([np.cos(angle), np.sin(angle) * rng.uniform(0.6, 1.0)], 1)
    return [(_turned(ring, rng.uniform(-0.5, 0.5)), False)]


def _cross(rng: Rng) -> Strokes:
    bars = np.array([[[-0.7, -0.7], [0.7, 0.7]], [[0.7, -0.7], [-0.7, 0.7]]])
    angle = rng.normal(0, 0.15)
    return [(_turned(bar, angle), False) for bar in bars]


def _dot(rng: Rng) -> Strokes:
    angle = np.linspace(0, 2 * np.pi, 24)
    return [(rng.uniform(0.12, 0.3) * np.stack([np.cos(angle), np.sin(angle)], 1), True)]


def _line(rng: Rng) -> Strokes:
    points = np.array([[-1.0, 0.0], [rng.uniform(-0.4, 0.4), rng.normal(0, 0.06)], [1.0, 0.0]])
    return [(_turned(points, rng.uniform(-np.pi, np.pi)), False)]


def _tick(rng: Rng) -> Strokes:
    points = np.array(
        [[-0.7, rng.uniform(-0.1, 0.2)], [-0.2, 0.6], [0.85, rng.uniform(-0.9, -0.5)]]
    )
    return [(points, False)]


def _other(rng: Rng) -> Strokes:
    form = rng.integers(3)
    if form == 0:  # back and forth, as one crosses something out
        x = np.linspace(-1, 1, int(rng.integers(9, 16)))
        points = np.stack([x, np.where(np.arange(len(x)) % 2, 0.35, -0.35)], 1)
    elif form == 1:  # a loop that stays open: with less than a quarter missing it is a circle
        gap = np.pi * rng.uniform(0.26, 0.44)
        angle = np.linspace(gap, 2 * np.pi - gap, 30) + rng.uniform(0, 2 * np.pi)
        points = np.stack([np.cos(angle), 0.8 * np.sin(angle)], 1)
    else:  # a spiral scrawl
        angle = np.linspace(0, 2 * np.pi * rng.uniform(2.5, 4), 70)
        points = np.stack(
            [np.linspace(-0.7, 0.7, 70) + 0.3 * np.cos(angle), 0.4 * np.sin(angle)], 1
        )
    return [(_turned(points, rng.normal(0, 0.3)), False)]


_SHAPES: dict[str, Callable[[Rng], Strokes]] = {
    "arrow": _arrow, "circle": _circle, "cross": _cross, "dot": _dot, "line": _line,
    "tick": _tick, "other": _other,
}  # fmt: skip
