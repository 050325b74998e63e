"""Where the plates come from: generated scenes, or a user's labelled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from markcut.contracts import YOLO_SIDE
from training.feed import MOST_SAMPLES, Recipe
from training.folder_pictures import read_picture
from training.plates import Plate, mark_from_mask, plates_of, reduced
from training.scenes import generate
from training.scenes.photos import PhotoPool
from training.seeds import HELD_OUT_SEEDS
from training.yolo.labels import LabelledPicture
from training.yolo.views import View, collate, letterboxed, random_view

Plates = tuple[Plate, ...]

BARE = 0.3
"""Share of plain photos to learn from: without them every view held a mark, and a network that
never sees none finds some on every photo."""

_BARE_STREAM = 7  # of random numbers: a scene's own start from its seed alone


@dataclass(frozen=True)
class ScenePlates:
    """Plates of the generated scene of a seed; ``bare`` is the share of plain photos among them.

    A plain photo has no mark but the fresh ones of its views: it shows what is no mark at all.
    """

    photos: PhotoPool
    bare: float = 0.0

    def __call__(self, seed: int) -> Plates:
        rng = np.random.default_rng((seed, _BARE_STREAM))
        if len(self.photos) and rng.random() < self.bare:
            photo = self.photos[int(rng.integers(len(self.photos)))]
            return (Plate(photo, (), whole=True),)
        return plates_of(generate(seed, photos=self.photos))


@dataclass(frozen=True)
class FolderPlates:
    """Plates of a user's pictures: ``seed`` counts through them again and again."""

    pictures: tuple[LabelledPicture, ...]

    def __call__(self, seed: int) -> Plates:
        labelled = self.pictures[seed % len(self.pictures)]
        picture = read_picture(labelled.path)
        marks = [mark_from_mask(mark.kind, mark.ink(*picture.shape[:2])) for mark in labelled.marks]
        whole = Plate(picture, tuple(m for m in marks if m is not None), whole=True)
        return reduced(whole, np.random.default_rng(seed))


@dataclass(frozen=True)
class Stage:
    """Views of one side, up to a part of the time; ``share`` scales the batch to the cost."""

    until: float
    side: int
    share: float


STAGES = (Stage(0.35, 192, 2.5), Stage(0.78, 320, 1.0), Stage(1.0, 640, 0.375))
"""Small windows first: what a mark looks like is learned from many, and a 640 costs eleven 192."""

TUNING_STAGES = (Stage(0.6, 320, 1.0), Stage(1.0, 640, 0.375))
"""From weights that know what a mark looks like: windows show more marks for the same time."""


@dataclass(frozen=True)
class Schedule:
    """Batch size and views as training goes on; ``batch`` counts views of 320."""

    batch: int
    stages: tuple[Stage, ...] = STAGES
    fresh: bool = False  # marks of every view's own

    def batch_size(self, progress: float) -> int:
        return min(MOST_SAMPLES, max(2, round(self.batch * self._stage(progress).share)))

    def view(self, plates: Plates, rng: np.random.Generator, progress: float) -> View:
        side = self._stage(progress).side
        return random_view(plates, rng, side=side, fresh=self.fresh)

    def _stage(self, progress: float) -> Stage:
        return next((s for s in self.stages if progress < s.until), self.stages[-1])


def recipe(
    plates: ScenePlates | FolderPlates, *, batch: int, tuning: bool = False
) -> Recipe[Plates, View]:
    """Batches of random views for ``training.feed.Feed``."""
    fresh = isinstance(plates, ScenePlates)
    schedule = Schedule(batch, TUNING_STAGES if tuning else STAGES, fresh)
    return Recipe(plates, schedule.view, collate, schedule.batch_size)


@dataclass(frozen=True)
class HeldOut:
    """The views to evaluate on: whole pictures as at inference, and crops of the big ones."""

    plates: ScenePlates | FolderPlates
    count: int

    def __call__(self) -> dict[str, Sequence[View]]:
        whole, crops = [], []
        for seed in HELD_OUT_SEEDS[: self.count]:
            first, *others = self.plates(seed)
            whole.append(letterboxed(first, YOLO_SIDE))
            crops += [letterboxed(plate, YOLO_SIDE) for plate in others[:2]]
        return {"whole": whole, "crop": crops} if crops else {"whole": whole}
