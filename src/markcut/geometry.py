"""Pictures to the squares that models want, and coordinates and maps back again.

Coordinates are continuous: pixel i covers i to i + 1 and its centre is i + 0.5. Every mapping in
this module is one linear map between two rectangles, so forward and backward cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""uint8 RGB (h, w, 3)."""

Window = tuple[int, int, int, int]
"""xyxy in whole pixels of the picture, the end excluded."""

PADDING = 114
"""The grey around a letterboxed picture: what YOLO is trained with."""


@dataclass(frozen=True)
class Placement:
    """Where a window of a picture lies in a model's square input.

    ``window`` is in pixels of the picture, ``inner`` the rectangle that it fills in the input;
    both are xyxy in whole pixels. ``side`` is the input's side. The scales of the axes may
    differ, by rounding in a letterbox and by design in a stretched picture.
    """

    window: Window
    inner: Window
    side: int

    def forward(self, xy: NDArray[Any]) -> NDArray[Any]:
        """Points (..., 2) or boxes xyxy (..., 4) of the picture, in the input's pixels."""
        return _between(xy, self.window, self.inner)

    def backward(self, xy: NDArray[Any]) -> NDArray[Any]:
        """Points (..., 2) or boxes xyxy (..., 4) of the input, in the picture's pixels.

        What lay on the padding comes back outside of the window: clip where that matters.
        """
        return _between(xy, self.inner, self.window)

    def restore(
        self, values: NDArray[np.float32], *, region: Window | None = None
    ) -> NDArray[np.float32]:
        """A map over the input, float32 (m, m) with any m, bilinearly at the picture's scale.

        Returns (h, w) for ``region``, xyxy in pixels of the picture, by default the window.
        Outside of what the map covers its edge goes on.
        """
        x0, y0, x1, y1 = self.window if region is None else region
        columns, rows = np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5
        centres = np.zeros((max(len(columns), len(rows)), 2))
        centres[: len(columns), 0], centres[: len(rows), 1] = columns, rows
        at = self.forward(centres) * (np.array(values.shape[::-1]) / self.side) - 0.5
        # columns first: the map is small there, and the rows that follow are whole copies
        wide = _lerp(values.T, at[: len(columns), 0]).T
        return _lerp(wide, at[: len(rows), 1])


class Halves:
    """A picture and what halving it again and again makes of it, each made once for all views.

    Halving both axes is ten times as fast as any other ratio, and averages chain exactly.
    """

    def __init__(self, picture: Picture) -> None:
        self._levels = [picture]

    @property
    def picture(self) -> Picture:
        return self._levels[0]

    def near(self, width: int, height: int) -> Picture:
        """The smallest one that shrinks by less than two on an axis, odd sides permitting."""
        for level, picture in enumerate(self._levels):
            rows, columns = picture.shape[:2]
            if rows % 2 or columns % 2 or rows < 2 * height or columns < 2 * width:
                return picture
            if level + 1 == len(self._levels):
                # the list grows while it is gone through
                half = _cv2_resize(picture, (columns // 2, rows // 2), cv2.INTER_AREA)
                self._levels.append(half)
        raise AssertionError("a picture of one pixel is odd")


def letterbox(
    picture: Picture | Halves, side: int, *, window: Window | None = None
) -> tuple[Picture, Placement]:
    """A window of the picture, as large as it fits and centred in a grey (side, side, 3) square.

    ``window`` is by default the whole picture; it must lie inside and hold at least one pixel.
    """
    halves = picture if isinstance(picture, Halves) else Halves(picture)
    window = _checked(halves.picture, window)
    placement = _letterboxed(window, side)
    left, top, right, bottom = placement.inner
    square = np.full((side, side, 3), PADDING, np.uint8)
    halves = _within(halves, window)
    square[top:bottom, left:right] = _resize(halves, right - left, bottom - top)
    return square, placement


def placed(height: int, width: int, side: int) -> Placement:
    """Where ``letterbox`` puts the whole of a picture (height, width)."""
    return _letterboxed((0, 0, width, height), side)


def _letterboxed(window: Window, side: int) -> Placement:
    width, height = window[2] - window[0], window[3] - window[1]
    scale = side / max(width, height)
    inner_width = min(side, max(1, round(width * scale)))
    inner_height = min(side, max(1, round(height * scale)))
    left, top = (side - inner_width) // 2, (side - inner_height) // 2
    return Placement(window, (left, top, left + inner_width, top + inner_height), side)


def stretch(
    picture: Picture | Halves, side: int, *, window: Window | None = None
) -> tuple[Picture, Placement]:
    """A window of the picture as a (side, side, 3) square, each axis scaled on its own.

    ``window`` is by default the whole picture; it must lie inside and hold at least one pixel.
    """
    halves = picture if isinstance(picture, Halves) else Halves(picture)
    window = _checked(halves.picture, window)
    placement = Placement(window=window, inner=(0, 0, side, side), side=side)
    halves = _within(halves, window)
    return np.ascontiguousarray(_resize(halves, side, side, smooth=True)), placement


def _checked(picture: Picture, window: Window | None) -> Window:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture: got {picture.dtype} {picture.shape}, expected uint8 (h, w, 3)")
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = window or (0, 0, width, height)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"window: got {window}, expected xyxy inside {width} x {height} pixels")
    return int(x0), int(y0), int(x1), int(y1)


def _within(halves: Halves, window: Window) -> Halves:
    x0, y0, x1, y1 = window
    if window == (0, 0, *halves.picture.shape[1::-1]):
        return halves
    return Halves(halves.picture[y0:y1, x0:x1])


def _resize(halves: Halves, width: int, height: int, *, smooth: bool = False) -> Picture:
    """Halve while an axis shrinks by two or more, then filter what is left.

    Upstream, SAM2 resizes with torch's antialiased bilinear filter, CLIPSeg with an antialiased
    bicubic one, YOLO with plain bilinear. ``smooth`` shrinks with Pillow's antialiased bilinear
    filter, which is SAM2's but for rounding. Plain bilinear is YOLO's, and ten times as fast; it
    skips pixels when it shrinks by more than two: at 12 megapixels it would be off by 5 levels,
    and a thin pen stroke break into dashes or vanish. So areas are averaged there.
    """
    picture = halves.near(width, height)
    # OpenCV averages only where both axes shrink, so a panorama takes two steps
    smaller = (min(width, picture.shape[1]), min(height, picture.shape[0]))
    if smooth and picture.shape[1::-1] != smaller:
        image = Image.fromarray(picture).resize(smaller, Image.Resampling.BILINEAR)
        picture = np.asarray(image, np.uint8)
    elif picture.shape[0] > 2 * height or picture.shape[1] > 2 * width:
        picture = _cv2_resize(picture, smaller, cv2.INTER_AREA)
    return _cv2_resize(picture, (width, height), cv2.INTER_LINEAR)


def _cv2_resize(picture: Picture, size: tuple[int, int], interpolation: int) -> Picture:
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


def _between(xy: NDArray[Any], source: Window, target: Window) -> NDArray[Any]:
    """``xy`` (..., 2) or (..., 4) carried from one rectangle to the other."""
    xy = np.asarray(xy)
    start, end = np.array(source[:2], np.float64), np.array(source[2:], np.float64)
    to_start, to_end = np.array(target[:2], np.float64), np.array(target[2:], np.float64)
    pairs = xy.reshape(*xy.shape[:-1], xy.shape[-1] // 2, 2)
    share = (pairs - start) / (end - start)
    mapped = to_start * (1 - share) + to_end * share  # exact at both ends
    return mapped.reshape(xy.shape).astype(np.result_type(xy.dtype, np.float32))


def _lerp(values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of ``values`` at fractional positions ``at``, linearly, the edges going on."""
    at = np.clip(at, 0, len(values) - 1)
    low = np.minimum(at.astype(np.intp), max(len(values) - 2, 0))
    weight = (at - low).astype(np.float32)[:, None]
    first = values[low]
    rows: NDArray[np.float32] = values[np.minimum(low + 1, len(values) - 1)]
    rows -= first
    rows *= weight
    rows += first
    return rows
