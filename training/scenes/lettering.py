"""Printed text and symbols, as alpha masks."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBol",
)  # fmt: skip
_MASTER = 48  # text is rendered at this size once, then resized


@lru_cache(maxsize=1)
def faces() -> tuple[str, ...]:
    """Font files that come with matplotlib; empty where it is absent."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return ()
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return tuple(str(folder / f"{f}.ttf") for f in _FACES if (folder / f"{f}.ttf").exists())


@lru_cache(maxsize=16)
def _font(face: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(face, _MASTER) if face else ImageFont.load_default(_MASTER)


@lru_cache(maxsize=512)
def _rendered(text: str, face: str) -> NDArray[np.uint8]:
    font = _font(face)
    x0, y0, x1, y1 = font.getbbox(text)
    image = Image.new("L", (max(1, int(x1 - x0) + 2), max(1, int(y1 - y0) + 2)))
    ImageDraw.Draw(image).text((1 - x0, 1 - y0), text, fill=255, font=font)
    return np.asarray(image)


def lettering(text: str, height: float, *, face: int = 0) -> NDArray[np.uint8]:
    """``text`` in one line as alpha 0..255, its capitals about ``height`` pixels high.

    ``face`` picks one of the fonts, any number does; symbols beyond ASCII are in 0 and 1.
    """
    known = faces()
    master = _rendered(text, known[face % len(known)] if known else "")
    scale = height / (_MASTER * 0.73)
    size = max(1, round(master.shape[1] * scale)), max(1, round(master.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(master, size, interpolation=how)  # type: ignore[return-value]
