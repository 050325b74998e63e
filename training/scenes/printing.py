"""Print on a picture: regular shapes in flat colours, as machines draw them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.scene import Picture

Colour = tuple[int, int, int]  # RGB

_COLOURS: tuple[Colour, ...] = (
    (220, 25, 35), (230, 40, 40), (20, 160, 70), (25, 110, 240), (20, 20, 22), (250, 250, 250),
    (120, 120, 125), (250, 180, 20), (235, 70, 130), (90, 60, 200),
)  # fmt: skip


def print_colour(rng: np.random.Generator) -> Colour:
    """A colour of logos and buttons."""
    return _COLOURS[int(rng.integers(len(_COLOURS)))]


def unit_of(picture: Picture) -> float:
    """A hundredth of the side of the square of equal area."""
    return float(np.sqrt(picture.shape[0] * picture.shape[1])) / 100


def spot(rng: np.random.Generator, picture: Picture) -> tuple[int, int]:
    """Any point of the picture, xy."""
    return int(rng.integers(picture.shape[1])), int(rng.integers(picture.shape[0]))


def stamp(
    picture: Picture,
    alpha: NDArray[np.uint8],
    x: float,
    y: float,
    colour: Colour,
    share: float = 1.0,
) -> None:
    """Lay ``colour`` through ``alpha`` with its centre at (x, y); what lies outside is cut off."""
    height, width = alpha.shape
    left, top = round(x - width / 2), round(y - height / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    a = alpha[y0 - top : y1 - top, x0 - left : x1 - left, None] * np.float32(share / 255)
    region = picture[y0:y1, x0:x1]
    region[:] = (region + (np.array(colour, np.float32) - region) * a + 0.5).astype(np.uint8)


def disc(
    picture: Picture, x: float, y: float, radius: float, colour: Colour, edge: float = 0
) -> None:
    """A disc, or a ring whose line is ``edge`` pixels wide, in place."""
    centre = (round(x * 16), round(y * 16))
    thick = -1 if edge <= 0 else max(1, round(edge))
    cv2.circle(picture, centre, round(radius * 16), colour, thick, cv2.LINE_AA, 4)


def rounded_box(
    picture: Picture, x0: int, y0: int, x1: int, y1: int, r: int, colour: Colour
) -> None:
    """A filled box with corners of radius ``r``, in place."""
    r = max(0, min(r, (x1 - x0) // 2, (y1 - y0) // 2))
    cv2.rectangle(picture, (x0 + r, y0), (x1 - r, y1), colour, -1)
    cv2.rectangle(picture, (x0, y0 + r), (x1, y1 - r), colour, -1)
    for x in (x0 + r, x1 - r):
        for y in (y0 + r, y1 - r):
            cv2.circle(picture, (x, y), r, colour, -1, cv2.LINE_AA)
