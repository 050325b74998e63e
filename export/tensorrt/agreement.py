"""How far an engine's answer is from the reference's: differences, masks' overlap, detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.boxes import paired
from markcut.contracts import YOLO11_SEG
from markcut.runners.base import Array

Arrays = Mapping[str, Array]

_SURE = 0.25  # detections that score less are nobody's business
_SAME = 0.9  # overlap of boxes from which two detections are one


@dataclass(frozen=True)
class Agreement:
    """How far one output is from the reference, the worst of all feeds.

    ``max_rel`` is ``max_abs`` over the largest magnitude of the reference, ``cosine`` the angle
    between both as vectors, ``mask_iou`` the mean overlap of what is inside (None: no masks).
    """

    max_abs: float
    max_rel: float
    cosine: float
    mask_iou: float | None = None


def agreement(got: Array, wanted: Array, inside: float | None) -> Agreement:
    """How far ``got`` is from ``wanted``; what is above ``inside`` is a mask's (None: no masks)."""
    if got.shape != wanted.shape or not np.isfinite(got.astype(np.float64)).all():
        return Agreement(np.inf, np.inf, -1.0, None if inside is None else 0.0)
    iou = None if inside is None else overlap(got > inside, wanted > inside)
    ours, theirs = got.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    if not ours.size:
        return Agreement(0.0, 0.0, 1.0, iou)
    largest, size = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    cosine = float(ours @ theirs) / norms if norms else float(largest == 0)
    return Agreement(largest, largest / size if size else (np.inf if largest else 0), cosine, iou)


def worst(found: Sequence[Agreement]) -> Agreement:
    """The largest differences of all, and the mean of the masks' overlaps."""
    ious = [one.mask_iou for one in found if one.mask_iou is not None]
    return Agreement(
        max(one.max_abs for one in found),
        max(one.max_rel for one in found),
        min(one.cosine for one in found),
        float(np.mean(ious)) if ious else None,
    )


def overlap(got: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """Mean IoU of the masks in the last two axes; two empty ones agree."""
    both = np.count_nonzero(got & wanted, axis=(-2, -1))
    either = np.count_nonzero(got | wanted, axis=(-2, -1))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean()) if both.size else 1


def matched(got: Arrays, wanted: Arrays) -> tuple[Arrays, Arrays, int]:
    """The detections of both that are sure, those that are the same side by side, and the rest.

    Near-equal scores change places, so rows are paired by class and box.
    """
    boxes, scores, kinds, _ = (t.name for t in YOLO11_SEG.outputs)
    pairs: list[tuple[int, int, int]] = []
    lost = 0
    for picture in range(len(wanted[scores])):
        ours = np.flatnonzero(got[scores][picture] >= _SURE * 0.8)
        theirs = np.flatnonzero(wanted[scores][picture] >= _SURE)
        same = paired(
            wanted[boxes][picture, theirs],
            got[boxes][picture, ours],
            least=_SAME,
            alike=wanted[kinds][picture, theirs][:, None] == got[kinds][picture, ours],
        )
        pairs += [(picture, int(ours[match]), int(theirs[row])) for row, match in same]
        lost += len(theirs) - len(same)
    at = np.array(pairs, np.int64).reshape(-1, 3).T
    return (
        {name: array[at[0], at[1]] for name, array in got.items()},
        {name: array[at[0], at[2]] for name, array in wanted.items()},
        lost,
    )
