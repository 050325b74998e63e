"""Made-up words, set in whatever typefaces are at hand."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

_ONSETS = (
    "b",
    "c",
    "d",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "th",
    "ch",
    "st",
    "tr",
    "",
)
_VOWELS = ("a", "e", "i", "o", "u", "y", "ai", "ou", "á", "à", "ê", "ô", "é", "ö")
_CODAS = ("", "", "n", "ng", "t", "m", "s", "r", "l", "nh", "c", "p")


def word(rng: np.random.Generator, *, accents: bool = True) -> str:
    """A pronounceable word, sometimes a number; without ``accents`` plain ASCII."""
    if rng.random() < 0.08:
        return str(rng.integers(1, 1000)) + str(rng.choice(["", "k", "cm", "%", "$", "x", "kg"]))
    vowels = _VOWELS if accents else _VOWELS[:8]
    parts = (_ONSETS, vowels, _CODAS) * int(rng.choice([1, 1, 2]))
    text = "".join(p[int(rng.integers(len(p)))] for p in parts)
    return text.capitalize() if rng.random() < 0.2 else text


def words(rng: np.random.Generator, count: int, *, accents: bool = True) -> str:
    """``count`` words; the first begins with a capital."""
    text = " ".join(word(rng, accents=accents) for _ in range(count))
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=1)
def _typefaces() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    spec = importlib.util.find_spec("matplotlib")
    root = (
        Path(spec.submodule_search_locations[0])
        if spec and spec.submodule_search_locations
        else Path()
    )
    folder = root / "mpl-data" / "fonts" / "ttf"
    plain = [folder / f"{n}.ttf" for n in ("DejaVuSans", "DejaVuSerif", "STIXGeneral")]
    bold = [folder / f"{n}.ttf" for n in ("DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneralBol")]
    return tuple(p for p in plain if p.is_file()), tuple(p for p in bold if p.is_file())


@lru_cache(maxsize=256)
def font(size: int, *, style: int = 0, bold: bool = False) -> Font:
    """A typeface at ``size`` pixels; ``style`` picks one (0 is Pillow's own)."""
    faces = _typefaces()[bold]
    if (style == 0 and not bold) or not faces:
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(faces[style % len(faces)]), size)


def stamp(text: str, h: int, w: int, face: Font) -> NDArray[np.float32]:
    """``text`` in the middle of (h, w): ink shares 0..1."""
    image = Image.new("L", (w, h))
    ImageDraw.Draw(image).text((w / 2, h / 2), text, fill=255, font=face, anchor="mm")
    return np.asarray(image, np.float32) * np.float32(1 / 255)


def stamp_words(rng: np.random.Generator, h: int, w: int) -> NDArray[np.float32]:
    """One to three lines of words that fill (h, w): ink shares 0..1."""
    lines = int(rng.integers(1, 4))
    size = max(5, int(h / lines * 0.8))
    face = font(size, style=int(rng.integers(4)), bold=bool(rng.random() < 0.6))
    image = Image.new("L", (w, h))
    draw = ImageDraw.Draw(image)
    for i in range(lines):
        text = word(rng, accents=False)
        text = text.upper() if rng.random() < 0.5 else text
        draw.text((w / 2, (i + 0.5) * h / lines), text, fill=255, font=face, anchor="mm")
    return np.asarray(image, np.float32) * np.float32(1 / 255)
