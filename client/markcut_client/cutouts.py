"""An object alone: smooth edges in its own colours."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from markcut_client.errors import ParameterError
from markcut_client.masks import Mask
from markcut_client.pictures import Pixels

Background = Literal["white", "transparent", "original"] | Sequence[int] | NDArray[np.integer[Any]]
"""One of these names, or a colour: red, green and blue, 0..255."""

BACKGROUNDS = ("white", "transparent", "original")

_FEATHER = 1.0  # sigma of the blur that turns steps into slopes, pixels
_EDGE = 2.0  # pixels inside of the edge whose colours may already be the background's
_REACH = 3.0  # sigma with which the colours within are carried out to the edge, pixels
_PAD = 6  # pixels around the crop that its blurs see
_INSIDE = 0.8413  # a straight edge, blurred with sigma s, has this value s pixels inside


def cut_out(
    pixels: Pixels,
    mask: Mask,
    bbox: tuple[int, int, int, int],
    background: Background,
    margin: int,
) -> Image.Image:
    """The part of ``pixels`` inside ``bbox`` and ``margin``; see ``MarkedObject.cutout``."""
    colour = _colour(background)
    if not _is_whole(margin) or margin < 0:
        raise ParameterError(f"margin: got {margin!r}, expected whole pixels, 0 or more")
    x, y, width, height = bbox
    if width == 0:
        raise ParameterError(
            "cutout: the object's mask is empty, there is nothing to cut out; look at `area` first"
        )
    rows = range(max(0, y - margin), min(len(mask), y + height + margin))
    columns = range(max(0, x - margin), min(mask.shape[1], x + width + margin))
    if isinstance(background, str) and background == "original":
        return Image.fromarray(pixels[rows.start : rows.stop, columns.start : columns.stop])
    top, left = max(0, rows.start - _PAD), max(0, columns.start - _PAD)
    window = np.s_[top : rows.stop + _PAD, left : columns.stop + _PAD]
    hard = Image.fromarray(mask[window].astype(np.uint8) * 255)
    image = _own_colours(Image.fromarray(pixels[window]), hard)
    alpha = feather(hard)
    if colour is None:
        # nothing of the old background stays in the file, not even unseen
        visible = alpha.point([255 * (value > 0) for value in range(256)])
        image = Image.composite(image, Image.new("RGB", image.size, (255, 255, 255)), visible)
        image.putalpha(alpha)
    else:
        image = Image.composite(image, Image.new("RGB", image.size, colour), alpha)
    # Pillow's own crop warns of pictures that are big, as if it were about to decode them
    shown = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return Image.fromarray(np.asarray(image)[shown])


def feather(hard: Image.Image) -> Image.Image:
    """Smooth opacity (mode L) from a mask of 0 and 255: half at its edge, over about 2 pixels."""
    soft = hard.filter(ImageFilter.GaussianBlur(_FEATHER))
    return soft.point([_clip((value - 128) * 1.5 + 128) for value in range(256)])


def _own_colours(crop: Image.Image, hard: Image.Image) -> Image.Image:
    """``crop`` with the colours around the mask's edge replaced by those from further inside.

    A blur of the inner pixels, divided by the blur of their weight, carries colours outward.
    Where the object is too thin to have an inside, its pixels stay.
    """
    eroded = hard.filter(ImageFilter.GaussianBlur(_EDGE))
    inside = eroded.point([255 * (value >= 255 * _INSIDE) for value in range(256)])
    kept = Image.composite(crop, Image.new("RGB", crop.size), inside)
    blur = ImageFilter.GaussianBlur(_REACH)
    weight = np.asarray(inside.filter(blur), np.float32)[..., None]
    carried = np.asarray(kept.filter(blur), np.float32) * 255 / np.maximum(weight, 1)
    take = (np.asarray(inside)[..., None] == 0) & (weight >= 24)
    return Image.fromarray(np.where(take, carried.clip(0, 255), np.asarray(crop)).astype(np.uint8))


def _clip(value: float) -> int:
    return round(min(max(value, 0.0), 255.0))


def _colour(background: object) -> tuple[int, int, int] | None:
    """The colour to lay the object on; None for the backgrounds that need none."""
    if isinstance(background, np.ndarray):
        background = background.tolist()
    if background == "white":
        return (255, 255, 255)
    if isinstance(background, str) and background in BACKGROUNDS:
        return None
    if (
        isinstance(background, Sequence)
        and not isinstance(background, bytes)
        and len(background) == 3
        and all(_is_whole(value) and 0 <= value <= 255 for value in background)
    ):
        return (int(background[0]), int(background[1]), int(background[2]))
    shown = " ".join(repr(background).split())
    raise ParameterError(
        f"background: got {shown[:60]}, expected {', '.join(map(repr, BACKGROUNDS))} or a "
        "colour (r, g, b) of whole numbers 0..255"
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
