"""Boxes of two answers to one picture: how much they overlap, and which belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]  # xyxy (n, 4)


def box_iou(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """IoU (n, m) of xyxy boxes (n, 4) and (m, 4); 1 for two empty ones that are equal."""
    a, b = one.astype(np.float64)[:, None], other.astype(np.float64)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both: NDArray[np.float64] = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(2) for boxes in (a, b)]
    either = areas[0] + areas[1] - both
    equal = (a == b).all(2).astype(np.float64)
    return np.where(either > 0, both / np.where(either > 0, either, 1), equal)


def paired(
    wanted: Boxes, got: Boxes, *, least: float, alike: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Rows of ``wanted`` and ``got`` that are one thing, each row at most once.

    In the order of ``wanted``, every box takes the one left over that it overlaps most, if by an
    IoU of ``least`` or more. ``alike`` (n, m) says which may be one thing at all (None: any).
    """
    overlap = box_iou(wanted, got)
    if alike is not None:
        overlap[~alike] = -1
    pairs = []
    for row in range(len(wanted) if len(got) else 0):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= least:
            pairs.append((row, best))
            overlap[:, best] = -1
    return pairs
