"""Masks with a frame around them, which OpenCV makes ten times as fast as numpy pads."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def framed(
    mask: NDArray[Any], top: int, bottom: int, left: int, right: int, *, value: int = 0
) -> NDArray[np.uint8]:
    """``mask`` (h, w) of bool or uint8 with that many rows and columns of ``value`` around it."""
    cells = np.ascontiguousarray(mask).view(np.uint8)
    frame = cv2.copyMakeBorder(cells, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(value,))
    return np.asarray(frame, np.uint8)


def framed_evenly(mask: NDArray[Any], edge: int, *, value: int = 0) -> NDArray[np.uint8]:
    """The same with ``edge`` rows and columns on every side."""
    return framed(mask, edge, edge, edge, edge, value=value)
