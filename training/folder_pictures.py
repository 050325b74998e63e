"""A user's own pictures: which files of a folder are pictures, and reading one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from training.errors import TrainingError
from training.scenes.scene import Picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# ultralytics, once imported, makes Image.open look for a HEIF plug-in before it gives up
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    Image.DecompressionBombError,
    ModuleNotFoundError,
)
"""What opening and reading a file that is no picture raises."""


def picture_paths(folder: Path) -> list[Path]:
    """Every picture below ``folder``, in order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def read_picture(path: Path) -> Picture:
    """The picture, upright, RGB; TrainingError naming the file when it cannot be read."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UNREADABLE as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}); expected a JPEG, PNG, WebP or BMP picture"
        ) from error


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the file's head alone."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = image.size
    except UNREADABLE as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}); expected a JPEG, PNG, WebP or BMP picture"
        ) from error
    return (width, height) if turned else (height, width)
