"""Ink masks as polygons, the form in which YOLO reads segmentation labels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.scene import Mask


def mask_polygon(mask: Mask) -> NDArray[np.float32]:
    """One closed polygon (n, 2), xy pixels, that fills to ``mask`` by the even-odd rule.

    Several parts, and the holes of rings, are joined by bridges of no width that run to and fro.
    Empty for an empty mask.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [c[:, 0].astype(np.float32) for c in contours if len(c) >= 3]
    if not rings:
        rings = [np.concatenate(contours)[:, 0].astype(np.float32)] if contours else []
    if not rings:
        return np.zeros((0, 2), np.float32)
    rings.sort(key=len, reverse=True)
    path = rings[0]
    for ring in rings[1:]:
        gaps = ((path[:, None] - ring[None]) ** 2).sum(axis=2)
        at, start = np.unravel_index(int(gaps.argmin()), gaps.shape)
        there = np.concatenate([ring[start:], ring[: start + 1]])
        path = np.concatenate([path[: at + 1], there, path[at:]])
    return path
