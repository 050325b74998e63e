"""Where two equal programs may differ, because rounding decides what a pixel is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.fidelity.agreement import mask_iou
from export.fidelity.limits import TENSORS

ROUNDING = TENSORS["fp32"].max_rel
"""Of the largest value: as far as equal programs may differ."""

Mask = NDArray[np.bool_]


def undecided(values: NDArray[np.float32], threshold: float = 0.0) -> Mask:
    """Where ``values``, any shape, are as near to ``threshold`` as equal programs may differ."""
    return np.asarray(np.abs(values - threshold) < ROUNDING * np.abs(values).max(), np.bool_)


def decided_iou(ours: Mask, theirs: Mask, open_: Mask) -> float:
    """IoU of two masks, where ``open_`` is true counted as ``theirs`` has it.

    One such pixel is a part in a thousand of a small mask.
    """
    return mask_iou(np.where(open_, theirs, ours), theirs)
