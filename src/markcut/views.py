"""A mark and its surroundings at a scale where geometry is cheap, and the way back to pixels.

Every mark is looked at in a window of its own, in square cells of ``stride`` pixels. A cell
counts as ink when a single one of its pixels is ink, so whatever is found free here is free in
the picture too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.frame import framed, framed_evenly
from markcut.geometry import Picture, Window
from markcut.marks import Mark
from markcut.strokes import stroke_width

Mask = NDArray[np.bool_]

_CELLS = 192  # a view is at most this wide and high
_POOL = 16  # largest factor at which one pixel of ink still shows in an 8-bit average
_LEAST_MARGIN = 1.5  # px kept from ink: soft edges, ringing
_FINEST = 0.0015  # of the diagonal, kept too: about what the networks can tell apart
_MARGIN_SHARE = 0.08  # of the stroke width, on top

_HOLES = 0.5  # of the stroke width: half the width of gaps in the ink that are ink in truth
_FRINGE = 0.6  # of the stroke width: how far overlooked ink is looked for
_ALIKE = 14.0  # 8-bit Lab: as different as one pen's ink is from itself


@dataclass(frozen=True)
class View:
    """What lies in ``window`` (xyxy, pixels), in cells of ``stride`` pixels, arrays (vh, vw).

    ``own`` is this mark's ink, ``ink`` any mark's, ``near`` any mark's with a margin around.
    ``colours`` uint8 (vh, vw, 3) is CIE Lab as OpenCV has it in 8 bits. ``diagonal`` is the
    picture's, in cells. ``stroke`` is the mark's stroke width in cells.
    """

    window: Window
    stride: int
    own: Mask
    ink: Mask
    near: Mask
    colours: NDArray[np.uint8]
    diagonal: float
    stroke: float

    def to_picture(self, cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Cell positions (n, 2) xy to the centre of a picture's pixel inside each cell."""
        x0, y0, x1, y1 = self.window
        pixels = np.floor(np.asarray(cells)) * self.stride + self.stride // 2 + (x0, y0)
        return (np.clip(pixels, (x0, y0), (x1 - 1, y1 - 1)) + 0.5).astype(np.float32)

    def corners(self, cells: NDArray[np.floating]) -> NDArray[np.float32]:
        """Corners between cells (n, 2) xy in pixels of the picture."""
        x0, y0, x1, y1 = self.window
        return np.clip(np.asarray(cells) * self.stride + (x0, y0), (x0, y0), (x1, y1)).astype(
            np.float32
        )


def distance_to(mask: Mask) -> NDArray[np.float32]:
    """Distance of every cell from the cells of ``mask`` (h, w), 0 in it; huge when it is empty."""
    far = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(far, np.float32)


def look(picture: Picture, marks: Sequence[Mark], index: int, *, reach: float) -> View:
    """The view of mark ``index``, with at least ``reach`` pixels around its ink where there are.

    ``picture`` is uint8 RGB (h, w, 3); the ink of all ``marks`` counts.
    """
    height, width = picture.shape[:2]
    mark = marks[index]
    x0, y0 = mark.origin
    x1, y1 = x0 + mark.ink.shape[1], y0 + mark.ink.shape[0]
    around = max(8, int(np.ceil(reach)))
    window = (max(0, x0 - around), max(0, y0 - around), min(width, x1 + around),
              min(height, y1 + around))  # fmt: skip
    side = max(window[2] - window[0], window[3] - window[1])
    stride = 1
    while side > _CELLS * stride:
        stride *= 2
    own = np.zeros((0, 0), np.bool_)
    shape = (-(-(window[3] - window[1]) // stride), -(-(window[2] - window[0]) // stride))
    ink, near = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    stroke = 1.0
    least = max(_LEAST_MARGIN, _FINEST * float(np.hypot(height, width)))
    for other, drawn in enumerate(marks):
        if other != index and _outside(drawn, window):
            continue
        cells = ink_cells(drawn, window, stride)
        if other == index:
            own = cells
        elif not cells.any():
            continue
        width_here = stroke_width(cells)
        if other == index:
            stroke = width_here
        ink |= cells
        near |= _grown(cells, least / stride + _MARGIN_SHARE * width_here)
    rows = np.minimum(np.arange(shape[0]) * stride + window[1] + stride // 2, window[3] - 1)
    columns = np.minimum(np.arange(shape[1]) * stride + window[0] + stride // 2, window[2] - 1)
    sampled = picture[rows[:, None], columns]
    smooth = cv2.blur(sampled, (3, 3))
    colours = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), np.uint8)
    near |= _closed(own, _HOLES * stroke)
    near |= _same_colour(colours, own, max(2.0, _FRINGE * stroke))
    return View(
        window=window,
        stride=stride,
        own=own,
        ink=ink,
        near=near,
        colours=colours,
        diagonal=float(np.hypot(height, width)) / stride,
        stroke=stroke,
    )


def _outside(mark: Mark, window: Window) -> bool:
    (x, y), (rows, columns) = mark.origin, mark.ink.shape
    return x >= window[2] or y >= window[3] or x + columns <= window[0] or y + rows <= window[1]


def ink_cells(mark: Mark, window: Window, stride: int) -> Mask:
    """The ink of ``mark`` in cells of ``window`` (xyxy): true where any pixel of a cell is ink."""
    width, height = window[2] - window[0], window[3] - window[1]
    shape = (-(-height // stride), -(-width // stride))
    x, y = mark.origin[0] - window[0], mark.origin[1] - window[1]
    rows, columns = mark.ink.shape
    left, top = max(0, x), max(0, y)
    right, bottom = min(width, x + columns), min(height, y + rows)
    cells = np.zeros(shape, np.bool_)
    if left >= right or top >= bottom:
        return cells
    patch = mark.ink[top - y : bottom - y, left - x : right - x]
    # whole cells only
    before = (top % stride, left % stride)
    after = (-bottom % stride, -right % stride)
    grid = framed(patch, before[0], after[0], before[1], after[1]) * np.uint8(255)
    factor = stride
    while factor > 1:
        step = min(factor, _POOL)
        size = (grid.shape[1] // step, grid.shape[0] // step)
        grid = np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_AREA) > 0, np.uint8) * 255
        factor //= step
    r, c = top // stride, left // stride
    cells[r : r + grid.shape[0], c : c + grid.shape[1]] = grid > 0
    return cells


def _closed(own: Mask, reach: float) -> Mask:
    """The ink with gaps and holes of up to twice ``reach`` filled."""
    size = 2 * round(reach) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    edge = size // 2
    roomy = cv2.morphologyEx(framed_evenly(own, edge), cv2.MORPH_CLOSE, disc)
    return np.asarray(roomy[edge : edge + own.shape[0], edge : edge + own.shape[1]], np.bool_)


def _same_colour(colours: NDArray[np.uint8], own: Mask, reach: float) -> Mask:
    """Cells within ``reach`` of the ink ``own`` that have its colour: ink that was overlooked."""
    if not own.any():
        return own
    lab = colours[own].astype(np.int16)
    middle = np.median(lab[:: max(1, len(lab) // 500)], axis=0)
    far = distance_to(own)
    alike = np.zeros(own.shape, np.bool_)
    rows, columns = np.nonzero((far <= reach) & ~own)
    apart = np.abs(colours[rows, columns].astype(np.int16) - middle).max(axis=1)
    alike[rows, columns] = apart < _ALIKE
    return alike


def _grown(cells: Mask, margin: float) -> Mask:
    """The cells and everything within ``margin`` of them."""
    return np.asarray(distance_to(cells) <= max(1.0, margin), np.bool_) if cells.any() else cells
