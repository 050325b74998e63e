"""Smooth shapes on pictures: what Pillow's drawing lacks is anti-aliasing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from markcut_client.masks import Mask

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]  # xyxy
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SUPERSAMPLING = 4


@functools.cache
def font(size: int) -> Font:
    """Pillow's own font, ``size`` pixels high."""
    return ImageFont.load_default(size)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width of ``text`` and height of a line, in pixels."""
    return round(font(size).getbbox(text, anchor="ls")[2]), round(size * 1.2)


def shape(size: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Image.Image:
    """An opacity (mode L) of ``size`` from what ``draw(canvas, scale)`` fills with 255."""
    k = _SUPERSAMPLING
    canvas = Image.new("L", (size[0] * k, size[1] * k))
    draw(ImageDraw.Draw(canvas), k)
    return canvas.reduce(k)


def rounded(size: tuple[int, int], radius: float) -> Image.Image:
    """Opacity of a rectangle with round corners."""
    width, height = size
    return shape(
        size,
        lambda canvas, k: canvas.rounded_rectangle(
            (0, 0, width * k - 1, height * k - 1), radius=radius * k, fill=255
        ),
    )


def disc(radius: float, *, sign: str = "") -> Image.Image:
    """Opacity of a disc; with ``sign`` "+" or "-" that of the sign alone, to go on top."""
    side = 2 * int(np.ceil(radius)) + 1

    def draw(canvas: ImageDraw.ImageDraw, k: int) -> None:
        centre = side * k / 2
        if not sign:
            r = radius * k
            canvas.ellipse((centre - r, centre - r, centre + r, centre + r), fill=255)
            return
        arm, half = radius * 0.55 * k, max(radius * 0.13, 0.6) * k
        canvas.rectangle((centre - arm, centre - half, centre + arm, centre + half), fill=255)
        if sign == "+":
            canvas.rectangle((centre - half, centre - arm, centre + half, centre + arm), fill=255)

    return shape((side, side), draw)


def stamp(
    picture: Image.Image,
    opacity: Image.Image,
    colour: Colour,
    at: tuple[int, int],
    *,
    by: float = 1,
) -> None:
    """Lay ``colour`` on ``picture`` where ``opacity``, whose corner comes ``at`` xy, says so."""
    if by < 1:
        opacity = opacity.point([round(value * by) for value in range(256)])
    picture.paste(colour, at, opacity)


def softened(
    mask: Mask, bbox: Box, view: tuple[int, int], sigma: float
) -> tuple[Image.Image, tuple[int, int]]:
    """``mask`` at the scale of ``view`` (width, height), its edge a slope of ``sigma`` pixels.

    Returns opacity of the part around ``bbox`` (xyxy, in the mask's pixels) and where its
    corner lies in the view.
    """
    height, width = mask.shape
    sx, sy = view[0] / width, view[1] / height
    pad = 4 * sigma + 2
    x0, y0 = max(0, int(bbox[0] * sx - pad)), max(0, int(bbox[1] * sy - pad))
    x1 = min(view[0], int(np.ceil(bbox[2] * sx + pad)))
    y1 = min(view[1], int(np.ceil(bbox[3] * sy + pad)))
    left, top = int(x0 / sx), int(y0 / sy)
    part = mask[top : int(np.ceil(y1 / sy)), left : int(np.ceil(x1 / sx))]
    source = Image.fromarray(part.astype(np.uint8) * 255)
    box = (
        x0 / sx - left,
        y0 / sy - top,
        min(x1 / sx - left, source.width),
        min(y1 / sy - top, source.height),
    )
    resized = source.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=box)
    return resized.filter(ImageFilter.GaussianBlur(sigma)), (x0, y0)


def band(soft: Image.Image, sigma: float, width: float) -> Image.Image:
    """Opacity of a line of ``width`` pixels along the edge of a softened mask.

    A straight edge under a Gaussian blur is the normal distribution's integral: its inverse
    turns values back into distances from the edge.
    """
    normal = NormalDist(0, sigma)
    table = []
    for value in range(256):
        distance = abs(normal.inv_cdf(min(max(value, 0.5), 254.5) / 255))
        table.append(round(255 * min(max(width / 2 + 0.5 - distance, 0.0), 1.0)))
    table[0] = table[255] = 0
    return soft.point(table)


def stripes(size: tuple[int, int], at: tuple[int, int], period: float) -> Image.Image:
    """Opacity of diagonal stripes, smooth, half covered; ``at`` keeps neighbours in step."""
    x = np.arange(size[0], dtype=np.float32)[None, :] + at[0]
    y = np.arange(size[1], dtype=np.float32)[:, None] + at[1]
    phase = ((x + y) / period) % 1
    wave = (0.25 - np.abs(phase - 0.5)) * period / 1.4142 + 0.5
    return Image.fromarray((wave.clip(0, 1) * 255).astype(np.uint8))
