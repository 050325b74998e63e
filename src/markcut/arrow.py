"""Where an arrow's tip is and which way it points, from its ink alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_BINS = 24  # slices across the chord from end to end
_END = 0.45  # share of the arrow in which its head may lie
_THICK = 1.6  # slices wider than this many times the shaft belong to the head
_CELLS = 256  # a stroke's shape is judged at most this large
_HEADED, _PLAIN = 2.4, 1.7  # how much wider and heavier an end is: a head, and none


@dataclass(frozen=True)
class Arrow:
    """Tip and tail in cells xy, the unit vector in which it points, its length in cells."""

    tip: NDArray[np.float64]  # (2,)
    tail: NDArray[np.float64]  # (2,)
    heading: NDArray[np.float64]  # (2,)
    length: float


def find_arrow(ink: Mask) -> Arrow:
    """The arrow that ``ink`` (h, w), at least one cell true, draws.

    Its ends are the two cells that lie farthest apart; the head is where the ink spreads
    sideways; the direction is that of the shaft where it meets the tip, curved shafts included.
    Nothing here needs the ink to be in one piece.
    """
    ys, xs = np.nonzero(ink)
    points = np.stack([xs, ys], axis=1).astype(np.float64)
    start, end = _farthest(points)
    length = float(np.hypot(*(end - start)))
    if length < 2.0:
        return Arrow(tip=end, tail=start, heading=np.array([1.0, 0.0]), length=length)
    along, across = _frame(points, start, end)
    if _spread(along, across, near_end=False) > _spread(along, across, near_end=True):
        start, end = end, start
        along, across = _frame(points, start, end)
    slope = _slope_at_tip(along, across)
    axis = (end - start) / length
    side = np.array([-axis[1], axis[0]])
    heading = axis + slope * side
    return Arrow(tip=end, tail=start, heading=heading / np.hypot(*heading), length=length)


def has_head(ink: Mask) -> bool | None:
    """Whether the long stroke ``ink`` (h, w) ends in a head, as an arrow does and a line does not.

    A head is wider than the rest of the stroke and makes one half of it heavier than the other.
    None where that is neither clear nor clearly not so. Of 156 arrows and 156 lines drawn for
    training and by ``benchmarks/pen.py`` two lines have a head and no arrow has none.
    """
    step = max(ink.shape) / _CELLS
    if step > 1:
        size = (max(1, round(ink.shape[1] / step)), max(1, round(ink.shape[0] / step)))
        ink = cv2.resize(ink.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0
    ys, xs = np.nonzero(ink)
    points = np.stack([xs, ys], axis=1).astype(np.float64)
    start, end = _farthest(points)
    if float(np.hypot(*(end - start))) < _BINS:
        return None
    along, across = _frame(points, start, end)
    lighter, heavier = sorted(_spread(along, across, near_end=near) for near in (False, True))
    low, high = _slices(along, across)
    wide = np.where(np.isfinite(low), high - low, 0.0)
    ends = max(wide[: int(_END * _BINS)].max(), wide[-int(_END * _BINS) :].max())
    middling, least = max(float(np.median(wide)), 1e-6), max(lighter, 1e-6)
    clear = float(np.sqrt(ends / middling * heavier / least))
    return True if clear > _HEADED else False if clear < _PLAIN else None


def _farthest(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    corners = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    apart = ((corners[:, None] - corners[None]) ** 2).sum(axis=2)
    first, second = np.unravel_index(int(apart.argmax()), apart.shape)
    return corners[first], corners[second]


def _frame(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions along the chord, 0..1, and beside it, in shares of its length."""
    chord = end - start
    rel = (points - start) / float(chord @ chord)
    return rel @ chord, rel @ np.array([-chord[1], chord[0]])


def _spread(along: NDArray[np.float64], across: NDArray[np.float64], *, near_end: bool) -> float:
    """How much ink lies off the stroke's middle in the half that has one end: mass times width."""
    here = across[along > 1 - _END] if near_end else across[along < _END]
    if here.size == 0:
        return 0.0
    return float(np.abs(here - np.median(here)).sum())


def _slices(
    along: NDArray[np.float64], across: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest ``across`` in every slice of the chord; infinite where it is empty."""
    slot = np.clip((along * _BINS).astype(int), 0, _BINS - 1)
    low = np.full(_BINS, np.inf)
    high = np.full(_BINS, -np.inf)
    np.minimum.at(low, slot, across)
    np.maximum.at(high, slot, across)
    return low, high


def _slope_at_tip(along: NDArray[np.float64], across: NDArray[np.float64]) -> float:
    """d across / d along at the tip of a parabola through tail, shaft and tip."""
    low, high = _slices(along, across)
    wide = high - low
    body = np.flatnonzero(np.isfinite(wide) & (np.arange(_BINS) < _BINS * (1 - _END / 2)))
    if body.size < 4:
        return 0.0
    shaft = body[wide[body] <= _THICK * np.median(wide[body]) + 1e-9]
    t = (shaft + 0.5) / _BINS
    middle = (low[shaft] + high[shaft]) / 2
    # across = bend * t * (1 - t): zero at both ends, slope -bend at the tip
    shape = t * (1 - t)
    bend = float((shape @ middle) / (shape @ shape))
    return -bend
