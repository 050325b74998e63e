"""Where the pictures come from: generated scenes, or a user's pictures with ink masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from markcut.contracts import CLIPSEG_SIDE, KINDS
from training.clipseg.evaluation import Marked, marked
from training.clipseg.views import HeatView, collate, random_view
from training.errors import TrainingError
from training.feed import MOST_SAMPLES, Recipe
from training.folder_pictures import mask_path, picture_paths, picture_size, read_picture
from training.plates import Plate, mark_from_mask, plates_of, reduced
from training.scenes import generate
from training.scenes.photos import PhotoPool
from training.scenes.scene import Mask
from training.seeds import HELD_OUT_SEEDS

Plates = tuple[Plate, ...]

_WHOLE_FROM = 0.6  # of the time; before, windows of half the side cost a fifth


@dataclass(frozen=True)
class ScenePlates:
    """The whole picture of a generated scene."""

    photos: PhotoPool

    def __call__(self, seed: int) -> Plates:
        return plates_of(generate(seed, photos=self.photos))[:1]


@dataclass(frozen=True)
class PairPlates:
    """A user's pictures: ``seed`` counts through pairs of a picture's and its ink mask's file."""

    pairs: tuple[tuple[Path, Path], ...]

    def __call__(self, seed: int) -> Plates:
        picture_path, mask_path = self.pairs[seed % len(self.pairs)]
        picture = read_picture(picture_path)
        mark = mark_from_mask(KINDS.index("other"), _read_mask(mask_path))
        whole = Plate(picture, () if mark is None else (mark,), whole=True)
        return reduced(whole, np.random.default_rng(seed))[:1]


def read_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of a picture ``NAME.jpg`` (or another) and its ink mask below ``folder``.

    The mask is ``NAME.mask.png`` or, where the picture is no PNG itself, ``NAME.png``.

    Raises TrainingError where a picture has no mask or one of another size, or there is no pair.
    """
    if not folder.is_dir():
        raise TrainingError(f"--data: {folder} is no folder")
    pairs = []
    for path in picture_paths(folder):
        mask = mask_path(path)
        if not mask.is_file():
            if path.suffix.lower() == ".png":
                continue  # a mask itself, or no part of this
            mask = path.with_suffix(".png")
        if not mask.is_file():
            raise TrainingError(
                f"{path}: no mask beside it, expected {mask_path(path).name} or {mask.name}: white "
                "where something is drawn, black elsewhere"
            )
        sizes = picture_size(path), picture_size(mask)
        if sizes[0] != sizes[1]:
            raise TrainingError(
                f"{mask}: height, width {sizes[1]}, but the picture {path.name} has {sizes[0]}"
            )
        pairs.append((path, mask))
    if not pairs:
        raise TrainingError(
            f"--data: no pair below {folder}; expected NAME.jpg with its ink mask NAME.mask.png"
        )
    return pairs


def _read_mask(path: Path) -> Mask:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            grey = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); expected a PNG mask") from error
    # programs write ink as 255 or as 1, and grey where its edge is smooth
    return grey > (127 if grey.max() > 127 else 0)


@dataclass(frozen=True)
class _Batches:
    batch: int
    by_kind: bool
    whole_from: float

    def size(self, progress: float) -> int:
        return min(MOST_SAMPLES, 3 * self.batch) if progress < self.whole_from else self.batch

    def view(self, plates: Plates, rng: np.random.Generator, progress: float) -> HeatView:
        side = CLIPSEG_SIDE // 2 if progress < self.whole_from else CLIPSEG_SIDE
        view = random_view(plates, rng, side=side)
        if self.by_kind:
            return view
        return HeatView(view.picture, view.prompts[:1], view.targets[:1])


def recipe(
    plates: ScenePlates | PairPlates, *, batch: int, tuning: bool = False
) -> Recipe[Plates, HeatView]:
    """Batches of random views for ``training.feed.Feed``; masks without kinds train one prompt."""
    by_kind = isinstance(plates, ScenePlates)
    batches = _Batches(batch, by_kind=by_kind, whole_from=0.0 if tuning else _WHOLE_FROM)
    return Recipe(plates, batches.view, collate, batches.size)


@dataclass(frozen=True)
class HeldOut:
    """The pictures to evaluate on."""

    plates: ScenePlates | PairPlates
    count: int

    def __call__(self) -> Sequence[Marked]:
        return [marked(self.plates(seed)[0]) for seed in HELD_OUT_SEEDS[: self.count]]
