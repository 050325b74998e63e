"""A chosen mask made whole on the decoder's grid, and carried to the picture's pixels."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.frame import framed_evenly

Grid = NDArray[np.float32]  # (s, s)

MASK_THRESHOLD = "mask_threshold"
"""The bundle's default that says above which logit a pixel belongs to what a mark means.

``SAM2ImagePredictor`` has it under the same name. A SAM2 that is unsure of objects it never saw
gives much of them less than even odds; masks of the best expected IoU begin below that.
"""

_PART = 0.08  # of the mask: a part that is smaller and holds no prompt is a speck
_REACH = 0.1  # of the side of a square as large as the parts with prompts: others lie this near
_HOLE = 0.01  # of the mask: a hole that is smaller is filled
_INKED_HOLE = 0.3  # share of a hole that is ink from which it is filled, whatever its size
_INKY = 0.4  # share of a cell that is ink from which it counts as ink
_SURE = 0.5  # logit of what is filled or taken away


def mask_threshold(defaults: Mapping[str, float]) -> float:
    """The logit above which a pixel is the object's, 0 where a bundle's ``defaults`` lack it."""
    return defaults.get(MASK_THRESHOLD, 0.0)


def clean(logits: Grid, points: NDArray[np.float32], ink: Grid) -> Grid:
    """``logits`` (s, s) without specks and without holes that the object does not have.

    ``points`` (n, 2) xy are foreground prompts in cells: parts with one of them stay. ``ink``
    (s, s) is the share of ink in every cell, of all marks: ink lies on the object, so a hole
    under it is filled, and so is ink with the object on both sides.
    """
    mask = (logits > 0).astype(np.uint8)
    area = int(mask.sum())
    if area == 0:
        return logits
    out: Grid = logits.copy()
    under_ink = (_closed(mask, ink) > 0) & (mask == 0)
    out[under_ink] = np.maximum(np.abs(out[under_ink]), _SURE)
    mask[under_ink] = 1
    gone = _specks(mask, points, area)
    out[gone] = -np.maximum(np.abs(out[gone]), _SURE)
    mask[gone] = 0
    filled = _holes(mask, ink, int(mask.sum()))
    out[filled] = np.maximum(np.abs(out[filled]), _SURE)
    return out


def _closed(mask: NDArray[np.uint8], ink: Grid) -> NDArray[np.uint8]:
    """Ink between parts of the mask that is no wider than a stroke."""
    inky = (ink > _INKY).astype(np.uint8)
    if not inky.any():
        return np.zeros_like(mask)
    depth = cv2.distanceTransform(framed_evenly(inky, 1), cv2.DIST_L2, 3)
    reach = int(np.ceil(min(float(depth.max()), mask.shape[0] / 16)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    roomy = framed_evenly(mask, reach)
    closed = cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, disc)[reach:-reach, reach:-reach]
    return np.where(closed > 0, inky, 0).astype(np.uint8)


def _specks(mask: NDArray[np.uint8], points: NDArray[np.float32], area: int) -> NDArray[np.bool_]:
    """Parts that hold no prompt and are small, or far from those that hold one.

    An object is in pieces only where something thin lies over it.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    side = mask.shape[0]
    cells = np.clip(np.floor(points), 0, side - 1).astype(int)
    held = set(parts[cells[:, 1], cells[:, 0]].tolist()) - {0}
    if stats[list(held), cv2.CC_STAT_AREA].sum() < _PART * area:  # or none at all
        held.add(1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
    core = np.isin(parts, list(held))
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    reach = _REACH * np.sqrt(np.count_nonzero(core))
    keep = np.zeros(count, np.bool_)
    keep[np.unique(parts[away <= reach])] = True
    keep &= stats[:, cv2.CC_STAT_AREA] >= _PART * area
    keep[[0, *held]] = True
    return np.asarray(~keep[parts], np.bool_)


def _holes(mask: NDArray[np.uint8], ink: Grid, area: int) -> NDArray[np.bool_]:
    # a frame of background joins everything that reaches the border: that is no hole
    count, framed = cv2.connectedComponents(framed_evenly(1 - mask, 1, value=1), connectivity=4)
    parts = framed[1:-1, 1:-1]
    size = np.bincount(parts.ravel(), minlength=count)
    inked = np.bincount(parts.ravel(), weights=ink.ravel(), minlength=count)
    fill = (size <= _HOLE * area) | (inked > _INKED_HOLE * np.maximum(size, 1))
    fill[[0, framed[0, 0]]] = False  # the mask itself, and what is around it
    return np.asarray(fill[parts], np.bool_)


def to_picture(
    logits: Grid, *, height: int, width: int
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Where ``logits`` (s, s) stretched bilinearly over the picture are positive.

    Returns the part of the mask (height, width) that its box covers, and the box's origin
    (x0, y0); an empty mask is a (0, 0) patch. Nothing outside of the box is computed.
    """
    side = logits.shape[0]
    rows, columns = np.nonzero(logits > 0)
    if not len(rows):
        return np.zeros((0, 0), np.bool_), (0, 0)
    # between cells' centres the sign may change, beyond the next one it cannot
    x0, x1 = _pixels(int(columns.min()) - 1, int(columns.max()) + 2, width / side, width)
    y0, y1 = _pixels(int(rows.min()) - 1, int(rows.max()) + 2, height / side, height)
    wide = np.full((side, x1 - x0), -1, np.float32)
    used = slice(max(0, int(rows.min()) - 1), int(rows.max()) + 2)
    here = logits[used]
    wide[used] = cv2.resize(here, (width, len(here)), interpolation=cv2.INTER_LINEAR)[:, x0:x1]
    patch = _positive(wide, y0, y1, height)
    left, top, columns_in, rows_in = cv2.boundingRect(patch.view(np.uint8))
    cut = patch[top : top + rows_in, left : left + columns_in]
    return cut, (x0 + left, y0 + top) if cut.size else (0, 0)


def _pixels(first: int, end: int, scale: float, size: int) -> tuple[int, int]:
    """The pixels that cells ``first`` to ``end`` may touch."""
    return max(0, int(first * scale) - 1), min(size, int(np.ceil(end * scale)) + 1)


def _positive(wide: NDArray[np.float32], y0: int, y1: int, height: int) -> NDArray[np.bool_]:
    """Rows ``y0`` to ``y1`` of ``wide`` (s, w) stretched linearly to ``height`` rows, where > 0.

    It goes from one row of cells to the next, so that everything stays in the cache, and leaves
    out what lies between two rows that are nowhere positive.
    """
    side = len(wide)
    patch = np.zeros((y1 - y0, wide.shape[1]), np.bool_)
    at = np.clip((np.arange(y0, y1) + 0.5) * (side / height) - 0.5, 0, side - 1)
    low = np.minimum(at.astype(int), max(side - 2, 0))
    weight = (at - low).astype(np.float32)[:, None]
    some = wide.max(axis=1) > 0
    starts = np.flatnonzero(np.diff(low, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(low)], strict=True):
        above, below = low[start], min(low[start] + 1, side - 1)
        if some[above] or some[below]:
            between = weight[start:end] * (wide[below] - wide[above])
            between += wide[above]
            np.greater(between, 0, out=patch[start:end])
    return patch
