"""Masks as COCO's compressed run lengths, encoded from the box that they fill.

A mask of a 12-megapixel picture is mostly nothing, so only its box is looked at: runs are found
there and moved to their place in the whole picture. The format and its compression are
pycocotools'.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco


def encode(patch: NDArray[np.bool_], origin: tuple[int, int], *, height: int, width: int) -> bytes:
    """The counts of a mask (height, width) that is ``patch`` at ``origin`` (x0, y0), else empty.

    What of the patch lies outside of the picture is left out. The answer is what pycocotools
    gives for the whole mask: runs go down the columns, the first is background.
    """
    x, y = origin
    left, top = max(0, -x), max(0, -y)
    patch = patch[top : max(top, height - y), left : max(left, width - x)]
    x, y = x + left, y + top
    rows, columns = patch.shape
    ends: NDArray[np.int64] = np.zeros(0, np.int64)
    if patch.size and patch.any():
        # one empty row between columns, so that no run leaves its column
        turned = np.zeros((columns, rows + 2), np.uint8)
        turned[:, 1:-1] = cv2.transpose(np.ascontiguousarray(patch).view(np.uint8))
        flat = turned.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        column, row = np.divmod(changes, rows + 2)
        ends = (x + column) * height + y + row
        # where a run reaches the picture's bottom it goes on at the next column's top
        joined = np.flatnonzero(ends[1:-1:2] == ends[2::2]) * 2 + 1
        ends = np.delete(ends, np.concatenate([joined, joined + 1]))
    counts = np.diff(ends, prepend=0, append=height * width)
    if len(ends) and ends[-1] == height * width:
        counts = counts[:-1]
    encoded = coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return bytes(encoded["counts"])
