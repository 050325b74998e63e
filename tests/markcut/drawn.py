"""Marks drawn on simple pictures, for tests: ink as arrays, no fonts, no files."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS
from markcut.marks import Mark

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]

GROUND, THING, INK = (200, 205, 190), (60, 90, 160), (230, 30, 40)


def scene(thing: Mask, ink: Mask) -> Picture:
    """A picture with a thing of one colour on a noisy ground, and ink on top."""
    rng = np.random.default_rng(5)
    picture = np.full((*thing.shape, 3), GROUND, np.uint8)
    picture[thing] = THING
    noisy = picture.astype(np.int16) + rng.integers(-8, 9, picture.shape)
    noisy[ink] = INK
    return np.clip(noisy, 0, 255).astype(np.uint8)


def ellipse(shape: tuple[int, int], centre: tuple[int, int], axes: tuple[int, int]) -> Mask:
    out = np.zeros(shape, np.uint8)
    cv2.ellipse(out, centre, axes, 0, 0, 360, 1, -1)
    return out.astype(np.bool_)


def strokes(
    shape: tuple[int, int], paths: Sequence[Sequence[tuple[float, float]]], width: int = 5,
    *, filled: bool = False,
) -> Mask:  # fmt: skip
    out = np.zeros(shape, np.uint8)
    for path in paths:
        points = np.round(np.array(path)).astype(np.int32)
        if filled:
            cv2.fillPoly(out, [points], 1)
        cv2.polylines(out, [points], False, 1, width)
    return out.astype(np.bool_)


def loop(
    centre: tuple[float, float], axes: tuple[float, float], *, start: float = 0.0,
    turns: float = 1.0, drift: float = 0.0,
) -> list[tuple[float, float]]:  # fmt: skip
    """Points around an ellipse; ``drift`` widens it by that share per turn."""
    t = np.linspace(0, turns, 90)
    angle = start + 2 * np.pi * t
    grow = 1 + drift * t
    x = centre[0] + axes[0] * grow * np.cos(angle)
    y = centre[1] + axes[1] * grow * np.sin(angle)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def mark(kind: str, ink: Mask) -> Mark:
    """The mark that a perfect detector would return for ``ink``, its patch as small as it gets."""
    ys, xs = np.nonzero(ink)
    x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    return Mark(
        kind=KINDS.index(kind),
        score=0.9,
        box=np.array([x0, y0, x1, y1], np.float32),
        ink=ink[y0:y1, x0:x1],
        origin=(x0, y0),
    )
