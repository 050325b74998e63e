"""A user's own pictures with the masks of their objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.errors import TrainingError
from training.folder_pictures import UNREADABLE, picture_paths, picture_size, read_picture
from training.sam2.data import Item, squared

_MASK = ".mask.png"
_ONE_CHANNEL = frozenset({"1", "L", "P", "I", "I;16"})


@dataclass(frozen=True)
class FolderItems:
    """Items of pictures with a mask ``NAME.mask.png`` beside them, stretched to ``side``."""

    pictures: tuple[Path, ...]
    side: int

    def __call__(self, seed: int) -> Item:
        path = self.pictures[seed % len(self.pictures)]
        picture = read_picture(path)
        mask = _read_mask(path.with_suffix(_MASK))
        no_ink = np.zeros(mask.shape, np.bool_)
        return squared(picture, picture, mask, no_ink, self.side)


def find_pairs(folder: Path) -> list[Path]:
    """Pictures below ``folder`` that have a mask beside them, for :class:`FolderItems`.

    A mask is a PNG of one channel: 0 for background, k for object k. Raises TrainingError for one
    that is not, or has another size than its picture, and for a folder without any.
    """
    if not folder.is_dir():
        raise TrainingError(f"--data: {folder} is no folder")
    found = [
        path
        for path in picture_paths(folder)
        if not path.name.endswith(_MASK) and path.with_suffix(_MASK).is_file()
    ]
    if not found:
        raise TrainingError(
            f"--data: no picture with its mask below {folder}; expected NAME.jpg beside "
            f"NAME{_MASK} (0 background, k object k)"
        )
    for path in found:
        mask = path.with_suffix(_MASK)
        sizes = picture_size(path), picture_size(mask)
        if sizes[0] != sizes[1]:
            raise TrainingError(
                f"{mask}: height, width {sizes[1]}, but the picture {path.name} has {sizes[0]}"
            )
        with Image.open(mask) as image:
            if image.mode not in _ONE_CHANNEL:
                raise TrainingError(
                    f"{mask}: got the channels {image.mode}, expected one: 0 background, k object k"
                )
    return found


def _read_mask(path: Path) -> NDArray[np.int32]:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image).astype(np.int32)
    except UNREADABLE as error:
        raise TrainingError(f"{path}: cannot be read ({error}); expected a PNG mask") from error
