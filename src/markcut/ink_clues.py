"""What a mark's ink says of whether a hand drew it: its size, its colour, and what lies around it.

A pen has one colour, which little else on the picture has; its stroke lies across whatever was
there, while print and icons stand on calm ground, and edges are where two grounds meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.colour import Lab, lab
from markcut.geometry import Picture

_CORE = 12  # pixels off the ink's soft rim that it takes to judge it by them
_SAMPLE = 1024  # pixels that are looked at, of the ink and around it
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_GRID = 128  # pixels on a side by which the whole picture's colours are judged, at most
_AROUND = 160  # the same for the ink and what lies around it
_NEAR, _FAR = 2.5, 7.0  # of them: what lies around begins and ends so far from the ink
_LIKE = 12.0  # distance in CIELAB up to which two colours are one
_BORDER = 0.02  # of a mark's extent: what comes nearer to the picture's border touches it


@dataclass(frozen=True)
class InkClues:
    """What is known of a patch of ink. Distances of colours are in CIELAB."""

    extent: float  # longer side of its box, share of the picture's longer side
    width: float  # of its stroke, the same
    aspect: float  # longer over shorter side of its box, at least 1
    fill: float  # share of its box, 0..1
    border: bool  # whether it touches the picture's border
    spread: float  # of its colours: :func:`_spread`; 0 is the most even ink there can be
    surroundings: float  # the same of what lies around it
    rarity: float  # share of the rest of the picture that has its colour, 0..1
    chroma: float  # of its colour; 0 is grey


class InkJudge:
    """Finds the clues to the ink on one picture, (h, w, 3) uint8 RGB."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def clues(self, ink: NDArray[np.bool_], origin: tuple[int, int]) -> InkClues:
        """Those of ``ink`` (h, w), a patch of the picture whose top left pixel is ``origin``.

        At least one of its pixels is true, and it is no larger than its ink.
        """
        rows, columns = ink.shape
        core = cv2.erode(
            ink.astype(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        area, inner = np.count_nonzero(ink), np.count_nonzero(core)
        own = self._colours(np.flatnonzero(core if inner >= _CORE else ink), ink.shape, origin)
        colour = np.median(own, axis=0)
        longest = max(self._picture.shape[:2])
        return InkClues(
            extent=max(rows, columns) / longest,
            width=2 * area / (area - inner) / longest,  # a stroke has two rims
            aspect=max(rows, columns) / min(rows, columns),
            fill=area / ink.size,
            border=self._touches_border(ink.shape, origin),
            spread=_spread(own),
            surroundings=_spread(self._around(ink, origin)),
            rarity=self._share_elsewhere(colour, ink.shape, origin),
            chroma=float(np.hypot(colour[1], colour[2])),
        )

    def _colours(
        self, where: NDArray[np.intp], shape: tuple[int, ...], origin: tuple[int, int]
    ) -> Lab:
        """Of some of the pixels ``where`` (flat indices) of a patch."""
        x, y = origin
        patch = self._picture[y : y + shape[0], x : x + shape[1]]
        return lab(patch[np.divmod(_some(where), shape[1])])

    def _around(self, ink: NDArray[np.bool_], origin: tuple[int, int]) -> Lab:
        """Colours next to the ink, but for its soft rim; of a large mark on every k-th pixel."""
        height, width = self._picture.shape[:2]
        step = -(-max(ink.shape) // _AROUND)
        part = ink[::step, ::step]
        reach = int(_FAR) + 1
        free = np.pad(~part, reach, constant_values=True).astype(np.uint8)
        away = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        where = _some(np.flatnonzero((away > _NEAR) & (away <= _FAR)))
        y, x = np.divmod(where, free.shape[1])
        x, y = origin[0] + (x - reach) * step, origin[1] + (y - reach) * step
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return lab(self._picture[y[inside], x[inside]])

    def _share_elsewhere(
        self, colour: NDArray[np.float32], shape: tuple[int, ...], origin: tuple[int, int]
    ) -> float:
        alike = np.linalg.norm(self._overview - colour, axis=2) < _LIKE
        (x, y), step = origin, self._step
        elsewhere = np.ones(alike.shape, np.bool_)
        elsewhere[
            y // step : -(-(y + shape[0]) // step), x // step : -(-(x + shape[1]) // step)
        ] = False
        return float(alike[elsewhere].mean()) if elsewhere.any() else 1.0

    @cached_property
    def _overview(self) -> NDArray[np.float32]:
        """Every k-th pixel's colour: (rows, columns, 3)."""
        part = self._picture[:: self._step, :: self._step]
        return lab(part.reshape(-1, 3)).reshape(part.shape)

    @cached_property
    def _step(self) -> int:
        return int(-(-max(self._picture.shape[:2]) // _GRID))

    def _touches_border(self, shape: tuple[int, ...], origin: tuple[int, int]) -> bool:
        height, width = self._picture.shape[:2]
        (x, y), (rows, columns) = origin, shape
        room = min(x, y, width - x - columns, height - y - rows)
        return bool(room < _BORDER * max(rows, columns))


def _some(where: NDArray[np.intp]) -> NDArray[np.intp]:
    """``where``, or every k-th of very many."""
    return where[:: max(1, -(-len(where) // _SAMPLE))]


def _spread(colours: Lab) -> float:
    """How far the colours lie from their median: half of them at most so far.

    The distance is the sum over the channels.
    """
    if not len(colours):
        return 0.0
    away = np.abs(colours - np.median(colours, axis=0)).sum(axis=1)
    return float(np.median(away))
