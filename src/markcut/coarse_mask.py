"""The network's mask of one mark, cell by cell, and where its cells lie in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.geometry import Window
from markcut.looks import Detection

_BOX_MARGIN = 1.5  # cells around its box in which a mark's ink is believed
_BOX_SHARE = 0.06  # of the box's longer side, on top
_RING = 3  # cells around what may be ink that count as the background nearby
_FAINT = 0.1  # masks are scaled to reach 1, but not by more than the inverse of this


@dataclass(frozen=True)
class CoarseMask:
    """Maps over the detection's cells, uint8 0..255."""

    prob: NDArray[np.uint8]  # (ph, pw) probability
    core: NDArray[np.uint8]  # its minimum over two cells around
    near: NDArray[np.uint8]  # its maximum over one cell around
    far: NDArray[np.uint8]  # its maximum over ring and all
    origin: tuple[float, float]  # xy, pixels of the picture
    size: tuple[float, float]  # of a cell, xy, pixels of the picture

    @property
    def maps(self) -> NDArray[np.uint8]:
        """All four, (ph, pw, 4)."""
        return np.stack([self.prob, self.core, self.near, self.far], axis=2)

    def over(
        self, values: NDArray[np.uint8], region: Window, shape: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Values of the cells (ph, pw, c), bilinearly over ``region`` of the picture: (h, w, c)."""
        (sx, dx), (sy, dy) = (self._line(axis, region, shape) for axis in (0, 1))
        mapped = cv2.warpAffine(
            values,
            np.array([[sx, 0, dx], [0, sy, dy]]),
            (shape[1], shape[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(mapped, np.uint8)

    def under(
        self, where: NDArray[np.intp], region: Window, shape: tuple[int, int]
    ) -> NDArray[np.intp]:
        """Flat indices of the cells that hold the pixels with flat indices ``where``."""
        rows, columns = self.prob.shape
        cells = []
        for axis, count in ((0, columns), (1, rows)):
            scale, start = self._line(axis, region, shape)
            nearest = np.rint(scale * np.arange(shape[1 - axis]) + start).astype(np.intp)
            cells.append(np.clip(nearest, 0, count - 1))
        row, column = np.divmod(where, shape[1])
        return np.asarray(cells[1][row] * columns + cells[0][column], np.intp)

    def _line(self, axis: int, region: Window, shape: tuple[int, int]) -> tuple[float, float]:
        """Cells per pixel along ``axis`` (0 is x), and the first pixel's centre, in cells."""
        step = (region[axis + 2] - region[axis]) / shape[1 - axis]
        return (
            step / self.size[axis],
            (region[axis] + 0.5 * step - self.origin[axis]) / self.size[axis] - 0.5,
        )


def coarse_mask(detection: Detection) -> CoarseMask:
    """What ``detection`` says of ink inside its box and a margin, scaled to reach 1."""
    rows, columns = detection.prob.shape
    x0, y0, x1, y1 = detection.region
    size = ((x1 - x0) / columns, (y1 - y0) / rows)
    box = detection.box.astype(np.float64)
    slack = _BOX_SHARE * max(box[2] - box[0], box[3] - box[1])
    low, high = box[:2] - (x0, y0) - slack, box[2:] - (x0, y0) + slack
    inside_x = _share_inside(columns, low[0] / size[0], high[0] / size[0])
    inside_y = _share_inside(rows, low[1] / size[1], high[1] / size[1])
    prob = detection.prob * inside_x * inside_y[:, None]
    seen = np.sort(prob[prob > 0.05])
    top = float(seen[int(0.9 * len(seen))]) if len(seen) else 1.0
    prob = np.minimum(prob * (255 / np.clip(top, _FAINT, 1.0)), 255).astype(np.uint8)
    reach = 2 * (1 + _RING) + 1
    return CoarseMask(
        prob=prob,
        core=np.asarray(cv2.erode(prob, np.ones((5, 5), np.uint8), borderValue=(0,)), np.uint8),
        near=np.asarray(cv2.dilate(prob, np.ones((3, 3), np.uint8)), np.uint8),
        far=np.asarray(cv2.dilate(prob, np.ones((reach, reach), np.uint8)), np.uint8),
        origin=(x0, y0),
        size=size,
    )


def touched_pixels(detection: Detection, *, height: int, width: int, step: int) -> Window:
    """The whole pixels of the picture (height, width) that the detection's cells touch.

    The sides are multiples of ``step`` where the picture is that large: OpenCV averages whole
    blocks several times as fast as others.
    """
    left, top, right, bottom = detection.region
    x0, x1 = _aligned(left, right, width, step)
    y0, y1 = _aligned(top, bottom, height, step)
    return x0, y0, x1, y1


def _aligned(begin: float, end: float, limit: int, step: int) -> tuple[int, int]:
    """From ``begin`` to ``end``, inside of 0 to ``limit``, a multiple of ``step`` if it can be."""
    first = min(max(int(np.floor(begin)), 0), limit - 1)
    length = max(min(int(np.ceil(end)), limit) - first, 1)
    length = min(-(-length // step), max(limit // step, 1)) * step
    if length > limit:  # smaller than one step
        return 0, limit
    first = min(first, limit - length)
    return first, first + length


def _share_inside(count: int, begin: float, end: float) -> NDArray[np.float32]:
    """How much of each of ``count`` cells lies between ``begin`` and ``end``, and the margin."""
    low = np.arange(count, dtype=np.float32)
    share = np.minimum(low + 1, end + _BOX_MARGIN) - np.maximum(low, begin - _BOX_MARGIN)
    return np.asarray(np.clip(share, 0, 1), np.float32)
