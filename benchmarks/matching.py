"""Overlaps of masks and boxes, and which answer belongs to which truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (h, w)
Box = tuple[int, int, int, int]  # xyxy

INK_IOU = 0.1
BOX_IOU = 0.3


@dataclass(frozen=True, eq=False)
class Region:
    """A mask of a picture's size, with what is asked of it more than once."""

    mask: Mask

    @cached_property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> Box:
        """Smallest box around the mask; zeros where it is empty."""
        rows, columns = self.mask.any(axis=1).nonzero()[0], self.mask.any(axis=0).nonzero()[0]
        if not len(rows):
            return (0, 0, 0, 0)
        return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def mask_iou(a: Region, b: Region) -> float:
    """Intersection over union; 0 where both are empty. ValueError for masks of two sizes."""
    if a.mask.shape != b.mask.shape:
        raise ValueError(f"masks of two sizes: {a.mask.shape} and {b.mask.shape}")
    x0, y0, x1, y1 = _common(a.box, b.box)
    if x0 >= x1 or y0 >= y1:
        return 0.0
    part = (slice(y0, y1), slice(x0, x1))
    shared = int(np.count_nonzero(a.mask[part] & b.mask[part]))
    return shared / (a.area + b.area - shared)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    x0, y0, x1, y1 = _common(a, b)
    shared = max(0, x1 - x0) * max(0, y1 - y0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (both - shared) if both > shared else 0.0


def dice(iou: float) -> float:
    """The Dice coefficient of two masks (2 x shared / sum of areas), which their IoU fixes."""
    return 2 * iou / (1 + iou)


def match_ink(truth: Sequence[Region], answers: Sequence[Region]) -> list[tuple[int, int, float]]:
    """Pairs (index of truth, index of answer, ink IoU); each index at most once.

    An answer may belong to a drawn mark where their ink overlaps by an IoU of 0.1 or more, or
    the boxes around their ink by 0.3 or more: thin strokes that are found one pixel beside
    themselves still count as found, and their ink IoU tells how far off they are. Pairs are
    taken greedily, the largest sum of both overlaps first.
    """
    found = []
    for t, drawn in enumerate(truth):
        for a, answer in enumerate(answers):
            ink, box = mask_iou(drawn, answer), box_iou(drawn.box, answer.box)
            if ink >= INK_IOU or box >= BOX_IOU:
                found.append((ink + box, t, a, ink))
    pairs: list[tuple[int, int, float]] = []
    used_truth: set[int] = set()
    used_answers: set[int] = set()
    for _, t, a, ink in sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if t not in used_truth and a not in used_answers:
            used_truth.add(t)
            used_answers.add(a)
            pairs.append((t, a, ink))
    return sorted(pairs)


def points_hit(points: NDArray[np.floating], wanted: Mask, ink: Mask) -> NDArray[np.bool_]:
    """Which of ``points`` (n, 2), xy in pixels, lie on ``wanted`` and off ``ink``.

    Coordinates are continuous, the centre of the top left pixel is (0.5, 0.5); a point outside
    of the picture is no hit.
    """
    height, width = wanted.shape
    x, y = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(int).T
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    return np.asarray(within & wanted[y, x] & ~ink[y, x])


def _common(a: Box, b: Box) -> Box:
    return (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
