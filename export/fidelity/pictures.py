"""Pictures to prove fidelity on: real photos of many shapes and sizes, with marks drawn on them.

The photos come with scikit-image. Their shapes are those at which preprocessing goes wrong:
portrait, landscape, panorama, square, a thumbnail, and one of twelve megapixels whose strokes are
far thinner than a pixel of any network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from export.errors import ExportError
from markcut.geometry import Picture

Point = tuple[float, float]  # xy, shares of the picture's width and height

RED, BLUE, GREEN, YELLOW = (225, 25, 35), (25, 60, 220), (20, 150, 60), (250, 220, 30)

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class NamedPicture:
    """One picture, uint8 RGB (h, w, 3), and what reports call it."""

    name: str
    picture: Picture

    @property
    def label(self) -> str:
        height, width = self.picture.shape[:2]
        return f"{self.name} {width}x{height}"


def fidelity_pictures(*, large: bool = True) -> list[NamedPicture]:
    """Seven pictures; without ``large`` the six that are quick at the picture's size."""
    import skimage.data

    data: Any = skimage.data
    coffee, cat, rocket = data.coffee(), data.chelsea(), data.rocket()
    motorcycle = data.stereo_motorcycle()[0]
    found = [
        NamedPicture("landscape", _circled(coffee, (0.26, 0.12, 0.74, 0.86), RED, 7)),
        NamedPicture("portrait", _ticked(rocket[:, 200:440], (0.55, 0.45), YELLOW, 6)),
        NamedPicture(
            "panorama", _arrowed(motorcycle[200:330], (0.06, 0.8), (0.17, 0.35), YELLOW, 5)
        ),
        NamedPicture("square", _crossed(data.astronaut(), (0.43, 0.2), GREEN, 8)),
        NamedPicture("thumbnail", _circled(_sized(cat, 96, 64), (0.2, 0.1, 0.8, 0.9), RED, 2)),
        NamedPicture("street", _arrowed(motorcycle, (0.62, 0.95), (0.5, 0.72), YELLOW, 8)),
    ]
    if large:
        twelve = _circled(_sized(cat, 4000, 3000), (0.2, 0.2, 0.6, 0.8), BLUE, 12)
        found.append(NamedPicture("large", _ticked(twelve, (0.8, 0.7), RED, 10)))
    return found


def read_pictures(folder: Path) -> list[NamedPicture]:
    """All pictures in ``folder``, in the order of their names, decoded as the pipeline does.

    Raises :class:`ExportError` where there is none, and :class:`markcut.InvalidInput` for a file
    that is no picture.
    """
    from markcut.images import decode

    if not folder.is_dir():
        raise ExportError(f"--pictures: {folder} is not a folder; name one with pictures")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise ExportError(f"--pictures: {folder} holds no {', '.join(_SUFFIXES)} file")
    return [NamedPicture(path.stem, decode(path.read_bytes())) for path in files]


def _sized(picture: Picture, width: int, height: int) -> Picture:
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _strokes(
    picture: Picture, lines: Sequence[Sequence[Point]], colour: tuple[int, int, int], width: int
) -> Picture:
    """``picture`` with lines drawn on it as with a pen, round at joints and ends."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for line in lines:
        at = [(x * image.width, y * image.height) for x, y in line]
        pen.line(at, fill=colour, width=width, joint="curve")
        for x, y in (at[0], at[-1]):
            r = width / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return np.array(image)


def _circled(
    picture: Picture,
    box: tuple[float, float, float, float],
    colour: tuple[int, int, int],
    width: int,
) -> Picture:
    angles = np.linspace(0, 2 * np.pi + 0.2, 60)
    wobble = 1 + 0.04 * np.sin(3 * angles)
    x = (box[0] + box[2]) / 2 + (box[2] - box[0]) / 2 * np.cos(angles) * wobble
    y = (box[1] + box[3]) / 2 + (box[3] - box[1]) / 2 * np.sin(angles) * wobble
    return _strokes(picture, [list(zip(x.tolist(), y.tolist(), strict=True))], colour, width)


def _arrowed(
    picture: Picture, tail: Point, tip: Point, colour: tuple[int, int, int], width: int
) -> Picture:
    height, wide = picture.shape[:2]
    start, end = np.array(tail) * (wide, height), np.array(tip) * (wide, height)
    back = (start - end) * 0.3
    turned = np.array([-back[1], back[0]]) * 0.7
    barbs = [(end + back + turned) / (wide, height), (end + back - turned) / (wide, height)]
    left, right = ((float(x), float(y)) for x, y in barbs)
    return _strokes(picture, [[tail, tip], [left, tip, right]], colour, width)


def _ticked(picture: Picture, at: Point, colour: tuple[int, int, int], width: int) -> Picture:
    x, y = at
    return _strokes(
        picture, [[(x - 0.06, y - 0.02), (x, y + 0.05), (x + 0.13, y - 0.1)]], colour, width
    )


def _crossed(picture: Picture, at: Point, colour: tuple[int, int, int], width: int) -> Picture:
    (x, y), r = at, 0.05
    lines = [[(x - r, y - r), (x + r, y + r)], [(x + r, y - r), (x - r, y + r)]]
    return _strokes(picture, lines, colour, width)
