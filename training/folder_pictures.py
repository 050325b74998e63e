"""A user's own pictures: which files of a folder are pictures, reading one, and its objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.errors import TrainingError

if TYPE_CHECKING:  # the scenes read photos with what is here
    from training.scenes.scene import Picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MASK = ".mask.png"
"""Ends the name of the mask beside a picture: one channel, 0 for background, k for object k."""

_ONE_CHANNEL = frozenset({"1", "L", "P", "I", "I;16"})
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


def mask_path(picture: Path) -> Path:
    """Where the mask of ``picture`` would be: ``NAME.mask.png`` beside it."""
    return picture.with_suffix(MASK)


def check_mask(picture: Path) -> None:
    """TrainingError where the mask of ``picture`` has more channels or another size."""
    mask = mask_path(picture)
    sizes = picture_size(picture), picture_size(mask)
    if sizes[0] != sizes[1]:
        raise TrainingError(
            f"{mask}: height, width {sizes[1]}, but the picture {picture.name} has {sizes[0]}"
        )
    with Image.open(mask) as image:
        if image.mode not in _ONE_CHANNEL:
            raise TrainingError(
                f"{mask}: got the channels {image.mode}, expected one: 0 background, k object k"
            )


def read_mask(picture: Path) -> NDArray[np.int32]:
    """The objects of ``picture`` (h, w), 0 for background; TrainingError for what is no mask."""
    path = mask_path(picture)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image).astype(np.int32)
    except UNREADABLE as error:
        raise TrainingError(f"{path}: cannot be read ({error}); expected a PNG mask") from error
