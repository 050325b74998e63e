"""What a loop goes round: the inside of closed and open loops, from their ink alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.frame import framed_evenly

Mask = NDArray[np.bool_]

_CLOSED = 0.5  # enclosed share of the hull from which a loop counts as closed
_GAPS = (0, 1, 3, 6)  # cells by which ink grows to close a gap
_EMPTY = 0.10  # largest share of ink in the middle of something that goes round
_MIDDLE = 0.55  # size of that middle, of the hull
_AROUND = 0.60  # least share of directions, seen from the middle, in which ink lies


def hull(ink: Mask) -> Mask:
    """The convex hull of ``ink`` (h, w), filled."""
    filled = np.zeros(ink.shape, np.uint8)
    points = cv2.findNonZero(ink.view(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled.astype(np.bool_)


def interior(ink: Mask) -> Mask:
    """What the loop ``ink`` (h, w) goes round, the ink itself excluded.

    A closed loop's is what it encloses, concave shapes included. Small gaps are closed first;
    where the gap is large it is the convex hull.
    """
    around = hull(ink)
    room = around & ~ink
    wanted = _CLOSED * float(np.count_nonzero(room))
    if wanted == 0:
        return room
    for gap in _GAPS:
        inside = _enclosed(ink, gap) & room
        if np.count_nonzero(inside) >= wanted:
            return inside
    return room


def _enclosed(ink: Mask, gap: int) -> Mask:
    """Cells that cannot reach the border once the ink has grown by ``gap`` cells."""
    walls = framed_evenly(ink, gap + 2)
    if gap:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
        walls = np.asarray(cv2.dilate(walls, disc), np.uint8)
    else:
        disc = None
    cv2.floodFill(walls, None, (0, 0), 2)
    inside = (walls == 0).astype(np.uint8)
    if disc is not None:
        inside = np.asarray(cv2.dilate(inside, disc), np.uint8)
    edge = gap + 2
    return np.asarray(inside[edge:-edge, edge:-edge], np.bool_)


def goes_round(ink: Mask) -> bool:
    """Whether ``ink`` surrounds something: hardly any ink in the middle, much of it around."""
    ys, xs = np.nonzero(hull(ink))
    if len(xs) < 16:
        return False
    centre = np.array([xs.mean(), ys.mean()])
    spread = np.array([max(xs.std(), 1e-3), max(ys.std(), 1e-3)])
    if spread.min() < 0.2 * spread.max():
        return False
    inky, inkx = np.nonzero(ink)
    # an ellipse of the hull's moments has its rim at 2 standard deviations
    offset = (np.stack([inkx, inky], axis=1) - centre) / (2 * spread)
    radius = np.hypot(offset[:, 0], offset[:, 1])
    middle = np.stack([xs, ys], axis=1) - centre
    in_middle = np.hypot(*(middle / (2 * spread)).T) < _MIDDLE
    if np.count_nonzero(radius < _MIDDLE) > _EMPTY * np.count_nonzero(in_middle):
        return False
    angles = np.arctan2(offset[:, 1], offset[:, 0])
    seen = np.bincount(((angles + np.pi) / (2 * np.pi) * 36).astype(int) % 36, minlength=36)
    return bool(np.count_nonzero(seen) >= _AROUND * 36)
