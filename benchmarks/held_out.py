"""Scenes that training never saw: generated ones in three sizes, and real photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from training.folder_pictures import MASK
from training.scenes import Scene, generate
from training.scenes.photos import PhotoFolderError, PhotoPool

_ASPECTS = (0.46, 0.5625, 0.75, 1.0, 1.333, 1.778)  # width / height
_SHORTEST_SIDE = 180
_FIRST = 1_000_000  # evaluation during training uses the first seeds
_SEEDS_PER_SIZE = 100_000
_UNMARKED_EVERY = 4
_PHOTO_SIDE = 1280  # px, photos with known objects are shown larger than those behind scenes


@dataclass(frozen=True)
class Size:
    """A class of pictures: how many pixels, which strokes (None: all), what share of ``scenes``.

    ``real`` ones are photos as they are, with marks drawn on objects that masks tell.
    """

    name: str
    pixels: tuple[float, float]
    stroke_width: tuple[float, float] | None = None
    share: float = 1.0
    real: bool = False


GENERATED: tuple[Size, ...] = (
    Size("small", (_SHORTEST_SIDE**2, 0.5e6)),
    Size("medium", (0.9e6, 1.1e6)),
    # thin strokes, which a reduced picture hardly shows
    Size("large", (11.9e6, 12.1e6), stroke_width=(5.0, 7.0), share=1 / 6),
)

SIZES = (*GENERATED, Size("real", (0.15e6, 1.5e6), real=True))

MOST_SCENES = _SEEDS_PER_SIZE
MOST_SEEDS = 7_000  # so many disjoint sets fit into the held-out seeds


@dataclass(frozen=True)
class Plan:
    """Which scene to make; ``marks`` is 0 or None, for as many as come."""

    size: Size
    seed: int
    height: int
    width: int
    marks: int | None

    def make(self, photos: PhotoPool) -> Scene:
        """The scene; the same plan and photos make the same one."""
        return generate(
            self.seed,
            photos=photos,
            size=(self.height, self.width),
            marks=self.marks,
            stroke_width=self.size.stroke_width,
            layout="photo" if self.size.real else None,
        )


def plans(*, sizes: Sequence[str], scenes: int, seed: int) -> Iterator[Plan]:
    """``scenes`` of every size, or the size's share of them; every fourth is left unmarked.

    ``seed`` (below MOST_SEEDS) chooses one of many disjoint sets, all in training's
    HELD_OUT_SEEDS and behind those that evaluation during training takes.
    """
    from training.seeds import HELD_OUT_SEEDS

    for number, size in enumerate(SIZES):
        if size.name not in sizes:
            continue
        # real photos take the seeds of small scenes: nothing else of the two is alike
        block = seed * len(GENERATED) + number % len(GENERATED)
        first = _FIRST + block * _SEEDS_PER_SIZE
        for index in range(max(1, round(scenes * size.share))):
            unmarked = index % _UNMARKED_EVERY == _UNMARKED_EVERY - 1
            yield planned(size, HELD_OUT_SEEDS[first + index], marks=0 if unmarked else None)


def planned(size: Size, seed: int, *, marks: int | None = None) -> Plan:
    """The scene of ``seed`` in a picture of ``size``."""
    height, width = _shape(size, np.random.default_rng((seed, 1)))
    return Plan(size, seed, height, width, marks)


def held_out_photos(folder: Path | None) -> PhotoPool:
    """The photos of ``folder`` and of the installed packages that training leaves out.

    Masks beside them are not looked at: scenes are the same with and without.
    """
    pool = _held_out(folder)
    return PhotoPool(pool.paths, max_side=pool.max_side, masks=False)


def held_out_objects(folder: Path | None) -> PhotoPool:
    """Those photos of ``folder`` that training leaves out and whose objects are known."""
    pool = _held_out(folder)
    if not pool.known:
        raise BenchmarkError(
            f"--sizes: real needs photos whose objects are known; got --photos {folder}, where "
            f"none of the {len(pool)} held-out pictures has a mask NAME{MASK} beside it; expected "
            "masks of one channel, 0 for background and k for object k, as for training"
        )
    return PhotoPool(tuple(pool.paths[k] for k in pool.known), max_side=_PHOTO_SIDE)


def _held_out(folder: Path | None) -> PhotoPool:
    try:
        return PhotoPool.load(folder, split="held_out")
    except PhotoFolderError as error:
        raise BenchmarkError(f"--photos: {error}") from None


def _shape(size: Size, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width, log-uniform in the size's range of pixels."""
    pixels = float(np.exp(rng.uniform(*np.log(size.pixels))))
    aspect = float(rng.choice(_ASPECTS))
    height, width = np.sqrt(pixels / aspect), np.sqrt(pixels * aspect)
    if min(height, width) < _SHORTEST_SIDE:
        height = width = np.sqrt(pixels)
    return int(np.ceil(height)), int(np.ceil(width))
