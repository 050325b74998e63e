"""A user's own pictures with the masks of their objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.errors import TrainingError
from training.folder_pictures import (
    MASK,
    check_mask,
    mask_path,
    picture_paths,
    read_mask,
    read_picture,
)
from training.sam2.data import Item, squared


@dataclass(frozen=True)
class FolderItems:
    """Items of pictures with a mask ``NAME.mask.png`` beside them, stretched to ``side``."""

    pictures: tuple[Path, ...]
    side: int

    def __call__(self, seed: int) -> Item:
        path = self.pictures[seed % len(self.pictures)]
        picture = read_picture(path)
        mask = read_mask(path)
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
        if not path.name.endswith(MASK) and mask_path(path).is_file()
    ]
    if not found:
        raise TrainingError(
            f"--data: no picture with its mask below {folder}; expected NAME.jpg beside "
            f"NAME{MASK} (0 background, k object k)"
        )
    for path in found:
        check_mask(path)
    return found
