"""Smooth random fields: made small, enlarged, so that their cost hardly grows with the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # (h, w), about zero mean and unit spread unless said otherwise


def smooth(rng: np.random.Generator, h: int, w: int, *, cells_y: int, cells_x: int) -> Field:
    """Random field with ``cells_y`` x ``cells_x`` bumps."""
    small = rng.standard_normal((max(2, cells_y + 1), max(2, cells_x + 1)), dtype=np.float32)
    return enlarge(small, h, w)


def fractal(
    rng: np.random.Generator, h: int, w: int, *, cells: int, octaves: int = 3, decay: float = 0.5
) -> Field:
    """Sum of smooth fields, each twice as fine as the one before; ``cells`` on the short side."""
    side = min(h, w)
    total = np.zeros((h, w), np.float32)
    strength = 1.0
    for _ in range(octaves):
        if cells >= side:
            break
        ny, nx = max(1, cells * h // side), max(1, cells * w // side)
        total += strength * smooth(rng, h, w, cells_y=ny, cells_x=nx)
        strength *= decay
        cells *= 2
    return total


def streaks(rng: np.random.Generator, h: int, w: int, *, angle: float, across: int) -> Field:
    """Noise stretched along ``angle`` (radians): wood, brushed metal, fur, cloth under tension.

    ``across`` counts the streaks over the longer side.
    """
    side = int(np.ceil(np.hypot(h, w)))
    across = min(across, side)
    long_field = smooth(rng, max(4, min(side, 4 * across)), 64, cells_y=across, cells_x=5)
    sy, sx = long_field.shape[0] / side, long_field.shape[1] / side
    c, s = np.cos(angle), np.sin(angle)
    # destination (x, y) -> source: rotate about the centre, then scale to the small field
    m = np.array([[sx * c, sx * s, 0], [-sy * s, sy * c, 0]], np.float32)
    m[:, 2] = np.array([sx, sy]) * side / 2 - m[:, :2] @ np.array([w / 2, h / 2])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return _as_field(
        cv2.warpAffine(long_field, m, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    )


def grain(rng: np.random.Generator, h: int, w: int) -> Field:
    """White noise, repeated from a tile on big pictures."""
    side = 256
    th, tw = min(h, side), min(w, side)
    dice = rng.integers(0, 256, (2, th, tw), dtype=np.uint8)  # two bytes: nearly normal, quick
    tile = (dice[0].astype(np.float32) + dice[1] - 255) * np.float32(1 / 104.5)
    if (th, tw) == (h, w):
        return tile
    return np.tile(tile, (-(-h // th), -(-w // tw)))[:h, :w]


def enlarge(small: Field, h: int, w: int) -> Field:
    """``small`` scaled to (h, w), smoothly."""
    return _as_field(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC))


def _as_field(values: object) -> Field:
    return np.asarray(values, np.float32)
