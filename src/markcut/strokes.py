"""Ink as strokes of one pen: how wide they are, and what is no part of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.frame import framed_evenly

Mask = NDArray[np.bool_]

_SPECK = 0.05  # of the largest piece of ink: less than that is no stroke
_NEAR = 0.5  # stroke widths that everything grows by: what touches then is one piece
_GRAIN = 0.1  # of the ink: more than that in specks, and they are what the pen leaves


def stroke_width(ink: Mask) -> float:
    """Width of the pen that drew ``ink`` (h, w), in its cells.

    Four times the mean distance of an ink pixel from the paper, which is the width for a long
    stroke.
    """
    cells = np.count_nonzero(ink)
    if cells == 0:
        return 1.0
    depth = cv2.distanceTransform(framed_evenly(ink, 1), cv2.DIST_L2, 3)
    return max(1.0, 4.0 * float(depth.sum()) / cells - 1.0)


def without_specks(ink: Mask) -> Mask:
    """``ink`` (h, w) without small pieces that lie apart from the rest.

    They are another mark's, or a bit of a print in the pen's colour, and far from the strokes they
    move a mark's ends: an arrow's tip is one of the two points that lie farthest apart.
    """
    reach = max(1, round(_NEAR * stroke_width(ink)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    count, labels = cv2.connectedComponents(cv2.dilate(ink.view(np.uint8), disc))
    if count < 3:  # the paper and one piece
        return ink
    sizes = np.bincount(labels[ink], minlength=count)
    strokes = sizes >= _SPECK * sizes.max()
    specks = int(sizes[~strokes].sum())
    if specks == 0 or specks > _GRAIN * sizes.sum():
        return ink
    return np.asarray(ink & strokes[labels], np.bool_)
