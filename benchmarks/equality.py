"""Do two contenders answer the same? Nothing is timed before that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco


def mean_iou(ours: Sequence[bytes], theirs: Sequence[bytes], *, size: tuple[int, int]) -> float:
    """Mean IoU of masks (COCO's run lengths at ``size``) paired by overlap, whatever their order.

    What has no partner counts as 0; nothing and nothing are the same.
    """
    return _paired_by_overlap(ours, theirs, lambda: _overlaps(ours, theirs, size))


def mean_box_iou(ours: Sequence[bytes], theirs: Sequence[bytes], *, size: tuple[int, int]) -> float:
    """The same of the masks' boxes."""

    def overlaps() -> np.ndarray:
        first, second = (coco.toBbox(_run_lengths(masks, size)) for masks in (ours, theirs))
        return np.asarray(coco.iou(first, second, [0] * len(second)), np.float64)

    return _paired_by_overlap(ours, theirs, overlaps)


def _paired_by_overlap(
    ours: Sequence[bytes], theirs: Sequence[bytes], table: Callable[[], np.ndarray]
) -> float:
    most = max(len(ours), len(theirs))
    if most == 0:
        return 1.0
    if not ours or not theirs:
        return 0.0
    overlaps = table()
    total = 0.0
    for _ in range(min(len(ours), len(theirs))):
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        total += max(0.0, float(overlaps[row, column]))
        overlaps[row], overlaps[:, column] = -1, -1
    return total / most


def paired_iou(ours: Sequence[bytes], theirs: Sequence[bytes], *, size: tuple[int, int]) -> float:
    """Mean IoU of masks that answer the same questions in the same order."""
    if not ours:
        return 1.0
    return float(np.mean(np.diag(_overlaps(ours, theirs, size))))


def _overlaps(ours: Sequence[bytes], theirs: Sequence[bytes], size: tuple[int, int]) -> np.ndarray:
    """IoU of every pair; two empty masks are the same."""
    first, second = (_run_lengths(masks, size) for masks in (ours, theirs))
    overlaps = np.asarray(coco.iou(first, second, [0] * len(second)), np.float64)
    empty = np.outer(coco.area(first) == 0, coco.area(second) == 0)
    return np.where(empty, 1.0, overlaps)


def _run_lengths(masks: Sequence[bytes], size: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"size": list(size), "counts": counts} for counts in masks]
