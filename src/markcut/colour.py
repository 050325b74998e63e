"""Colours as eyes tell them apart."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float32]
"""(n, 3), CIELAB of D65: L in 0..100."""


def lab(pixels: NDArray[np.uint8]) -> Lab:
    """(n, 3) RGB, uint8, in CIELAB."""
    if not len(pixels):
        return np.zeros((0, 3), np.float32)
    colours = np.ascontiguousarray(pixels)[None].astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0])
