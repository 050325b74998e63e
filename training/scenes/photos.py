"""The photos behind the scenes: a user's folder, and what scikit-image and scikit-learn carry."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.errors import TrainingError
from training.folder_pictures import MASK, check_mask, mask_path, read_mask
from training.scenes.noise import fractal
from training.scenes.scene import Picture

Split = Literal["train", "held_out", "all"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
HELD_OUT_SHARE = 0.2
CACHE_BYTES = 160 << 20

# Photographs inside the wheels (the rest of their pictures are charts, scans and test patterns).
WHEEL_PHOTOS = {
    "skimage": (
        "data",
        ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png")
        + ("grass.png", "gravel.png", "motorcycle_left.png", "rocket.jpg"),
    ),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


class PhotoFolderError(ValueError):
    """The folder of photos cannot be used."""


class PhotoPool:
    """Photos decoded when first asked for and kept, scaled down, in a bounded cache.

    Safe to pickle and to fork: a copy starts with whatever its parent had decoded (fork) or with
    nothing (pickle). An empty pool works and yields procedural pictures. ``known`` are the indices
    of the photos whose objects are known: those with a mask ``NAME.mask.png`` beside them, or
    none without ``masks``.
    """

    def __init__(self, paths: tuple[Path, ...], *, max_side: int, masks: bool = True) -> None:
        self.paths = paths
        self.max_side = max_side
        self.masks = masks
        self.known = tuple(k for k, p in enumerate(paths) if masks and mask_path(p).is_file())
        self._cache: OrderedDict[int, Picture] = OrderedDict()
        self._cached_bytes = 0

    @classmethod
    def load(
        cls, folder: Path | None = None, *, split: Split = "all", max_side: int = 768
    ) -> PhotoPool:
        """The photos of ``folder`` (not its subfolders) and of the installed wheels.

        ``split`` is decided by a hash of the file's name, about 80 to 20; a file that repeats
        another's bytes is left out, so that no photo lies in both halves. Raises
        :class:`PhotoFolderError` when ``folder`` is no folder or holds no picture, for a mask that
        does not fit its photo, and for one whose photo is left out while the other has none.
        """
        found = _folder_photos(folder) if folder is not None else []
        seen: dict[bytes, Path] = {}
        kept = []
        for path in [*found, *_wheel_photos()]:
            first = seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
            if first is not path:
                _check_mask_lost(path, first)
            elif split in ("all", _half(path.name)):
                kept.append(path)
                _check_mask_of(path)
        return cls(tuple(kept), max_side=max_side)

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "max_side": self.max_side, "masks": self.masks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __getitem__(self, index: int) -> Picture:
        """Photo ``index``, upright RGB, no side above ``max_side``. Do not write to it."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        picture = _decode(self.paths[index], self.max_side)
        self._cache[index] = picture
        self._cached_bytes += picture.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return picture

    def objects(self, index: int) -> NDArray[np.int32]:
        """The objects of photo ``index``, which is one of ``known``: (h, w), 0 for background."""
        mask = read_mask(self.paths[index])
        height, width = self[index].shape[:2]
        small = cv2.resize(
            mask.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return np.asarray(small, np.int32)

    def crop(
        self, rng: np.random.Generator, h: int, w: int, *, least: float = 0.5, most: float = 1.0
    ) -> Picture:
        """A random window of a random photo, scaled to (h, w), perhaps mirrored.

        The window keeps the aspect h : w and takes between ``least`` and ``most`` of the largest
        such window's side.
        """
        if not self.paths:
            noise = np.stack([fractal(rng, h, w, cells=5) for _ in range(3)], axis=-1)
            return np.clip(128 + 60 * noise, 0, 255).astype(np.uint8)
        photo = self[int(rng.integers(len(self.paths)))]
        ph, pw = photo.shape[:2]
        share = float(rng.uniform(least, most))
        scale = share * min(ph / h, pw / w)
        ch, cw = max(2, min(ph, round(h * scale))), max(2, min(pw, round(w * scale)))
        y, x = int(rng.integers(ph - ch + 1)), int(rng.integers(pw - cw + 1))
        window: NDArray[np.uint8] = photo[y : y + ch, x : x + cw]
        if rng.random() < 0.5:
            window = window[:, ::-1]
        method = cv2.INTER_AREA if ch > h else cv2.INTER_CUBIC
        return cv2.resize(np.ascontiguousarray(window), (w, h), interpolation=method).astype(
            np.uint8, copy=False
        )


def _check_mask_of(path: Path) -> None:
    if mask_path(path).is_file():
        try:
            check_mask(path)
        except TrainingError as error:
            raise PhotoFolderError(f"photos: {error}") from error


def _check_mask_lost(path: Path, first: Path) -> None:
    mask, wanted = mask_path(path), mask_path(first)
    if mask.is_file() and not wanted.is_file():
        raise PhotoFolderError(
            f"photos: {mask.name} would be lost: {path.name} repeats {first.name}, which is taken "
            f"in its place; rename the mask to {wanted.name}"
        )


def _half(name: str) -> Split:
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return "held_out" if first / 2**32 < HELD_OUT_SHARE else "train"


def _folder_photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PhotoFolderError(f"photos: {folder} is no folder; pass a folder of pictures")
    found = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.endswith(MASK)
    )
    if not found:
        raise PhotoFolderError(
            f"photos: {folder} holds no picture; wanted files ending in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return found


def _wheel_photos() -> list[Path]:
    found = []
    for package, (folder, names) in WHEEL_PHOTOS.items():
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            paths = (Path(root) / folder / name for name in names)
            found += [path for path in paths if path.is_file()]
    return found


def _decode(path: Path, max_side: int) -> Picture:
    with Image.open(path, formats=FORMATS) as image:
        image.draft("RGB", (max_side, max_side))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return np.array(upright)
