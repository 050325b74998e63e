"""Underlines and brackets: marks that lie beside what they mean, and on which side that is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_FLAT = 0.30  # largest ratio of the ink's deviations across and along
_LEVEL = 0.8  # least cosine between a line of a double underline and the horizontal
_PIECE = 0.15  # of the ink: what is smaller is no line of its own
_ENDS, _MIDDLE = 0.8, 0.6  # of the half length: where a bracket's ends begin, its middle ends
_LEAN = 0.04  # of the length: by how much ends lean to be a bracket's


@dataclass(frozen=True)
class Beside:
    """Where a flat mark's thing begins: ``start`` (2,) xy, the middle of the ink's rim, in cells.

    ``towards`` is the unit vector from the ink to the thing, ``along`` that of the mark,
    ``length`` its length.
    """

    start: NDArray[np.float64]
    towards: NDArray[np.float64]
    along: NDArray[np.float64]
    length: float


def find_beside(ink: Mask) -> Beside | None:
    """The side that the flat mark ``ink`` (h, w) means; None when it is not flat.

    The ends of a bracket lean towards its thing; lines without such ends are an underline, and
    mean what is above them.
    """
    ys, xs = np.nonzero(ink)
    if len(xs) < 8:
        return None
    cells = np.stack([xs, ys], axis=1).astype(np.float64)
    along = _long_axis(cells)
    if along is None:
        if not _is_stack_of_lines(ink):
            return None
        along = np.array([1.0, 0.0])
    normal = np.array([-along[1], along[0]])
    centre = cells.mean(axis=0)
    t = (cells - centre) @ along
    middle = float(t.max() + t.min()) / 2
    centre, t = centre + middle * along, t - middle
    across = (cells - centre) @ normal
    half = max(float(t.max()), 1.0)
    ends, body = np.abs(t) > _ENDS * half, np.abs(t) < _MIDDLE * half
    lean = float(across[ends].mean() - across[body].mean()) if ends.any() and body.any() else 0.0
    if abs(lean) > _LEAN * 2 * half:
        towards = normal * np.sign(lean)
    elif abs(along[0]) > abs(along[1]):  # an underline
        towards = -normal * np.sign(normal[1])
    else:
        return None
    rim = float(((cells - centre) @ towards).max())
    return Beside(start=centre + towards * rim, towards=towards, along=along, length=2 * half)


def _long_axis(cells: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The unit vector along ``cells`` (n, 2); None when they are not flat."""
    rel = cells - cells.mean(axis=0)
    variances, axes = np.linalg.eigh(rel.T @ rel / len(rel))
    if variances[0] > _FLAT**2 * variances[1]:
        return None
    axis: NDArray[np.float64] = axes[:, 1]
    return axis


def _is_stack_of_lines(ink: Mask) -> bool:
    """Whether ``ink`` is several level lines, one over the other."""
    count, pieces = cv2.connectedComponents(ink.astype(np.uint8), connectivity=8)
    lines = []
    for piece in range(1, count):
        ys, xs = np.nonzero(pieces == piece)
        if len(xs) < _PIECE * np.count_nonzero(ink):
            continue
        axis = _long_axis(np.stack([xs, ys], axis=1).astype(np.float64))
        if axis is None or abs(axis[0]) < _LEVEL:
            return False
        lines.append((int(xs.min()), int(xs.max())))
    if len(lines) < 2:
        return False
    left, right = max(line[0] for line in lines), min(line[1] for line in lines)
    shortest = min(line[1] - line[0] for line in lines)
    return right - left > 0.5 * shortest
