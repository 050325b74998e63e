"""The picture as it was before somebody drew on it, for the network that segments objects.

SAM2 never learned what ink is. A stroke across a coat is an edge to it, and the stroke itself an
object, often a better one than the coat. So ink is painted over with what lies around it (A. Telea,
An image inpainting technique based on the fast marching method, 2004) before SAM2 looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.candidates import ink_grid
from markcut.geometry import Picture
from markcut.marks import Mark

_SIDE = 256  # painted at most this large: what is painted is smooth, and time grows with its area
_MARGIN = 1  # cells around the ink that its soft edge, its shadow and JPEG's ringing reach
_RADIUS = 3  # cells around the rim from which a cell is painted


def without_ink(view: Picture, marks: Sequence[Mark], *, height: int, width: int) -> Picture:
    """``view`` with the ink of ``marks`` painted over; without marks ``view`` itself.

    ``view`` is the whole of a picture (height, width) stretched to (side, side, 3), uint8 RGB.
    """
    if not marks:
        return view
    small = min(view.shape[0], _SIDE)
    ink = np.zeros((small, small), np.bool_)
    for mark in marks:
        ink |= ink_grid(mark, small, height=height, width=width) > 0
    return painted_over(view, ink)


def painted_over(view: Picture, where: NDArray[np.bool_]) -> Picture:
    """``view`` (side, side, 3) with what ``where`` says, and a margin, painted over.

    ``where`` is (s, s), the same square at most as fine. Where it is everything ``view`` stays,
    for there is nothing to paint with.
    """
    side, small = view.shape[0], min(where.shape[0], _SIDE)
    share = cv2.resize(where.astype(np.float32), (small, small), interpolation=cv2.INTER_AREA)
    reach = 2 * _MARGIN + 1
    ink = cv2.dilate((share > 0).astype(np.uint8), np.ones((reach, reach), np.uint8))
    if ink.all():
        return view
    if small == side:
        return np.asarray(cv2.inpaint(view, ink, _RADIUS, cv2.INPAINT_TELEA), np.uint8)
    less = cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA)
    painted = cv2.inpaint(less, ink, _RADIUS, cv2.INPAINT_TELEA)
    painted = cv2.resize(painted, (side, side), interpolation=cv2.INTER_LINEAR)
    over = cv2.resize(ink, (side, side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.copyTo(painted, over, view.copy()), np.uint8)
