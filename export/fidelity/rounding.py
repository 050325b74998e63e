"""Where two equal programs may differ, because rounding decides what a pixel is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.fidelity.agreement import Mask, mask_iou
from export.fidelity.limits import TENSORS

ROUNDING = TENSORS["fp32"].max_rel
"""Of the largest value: as far as equal programs may differ."""


def undecided(values: NDArray[np.float32], threshold: float = 0.0) -> Mask:
    """Where ``values``, any shape, are as near to ``threshold`` as equal programs may differ."""
    return np.asarray(np.abs(values - threshold) < ROUNDING * np.abs(values).max(), np.bool_)


def decided_iou(ours: Mask, theirs: Mask, unsure: Mask) -> float:
    """IoU of two masks, where ``unsure`` is true counted as ``theirs`` has it.

    One such pixel is a part in a thousand of a small mask.
    """
    return mask_iou(np.where(unsure, theirs, ours), theirs)
