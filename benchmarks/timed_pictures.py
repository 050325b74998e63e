"""The encoded pictures that the latency benchmark sends: a user's, or generated ones."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.errors import BenchmarkError
from benchmarks.held_out import held_out_photos
from markcut.errors import InvalidInput
from markcut.geometry import Picture
from markcut.images import decode
from training.scenes import generate
from training.scenes.photos import PhotoPool

SIZES = {"0.3 MP": (480, 640), "1 MP": (864, 1152), "12 MP": (3000, 4000)}
"""Height and width by name."""

MARKS = (1, 4, 16)
"""Marks on a picture: squares, since scenes of one mark are laid out in rows and columns."""

FRAMES = 6
"""Versions of a picture that take turns: more than any encoder remembers features of."""

_JPEG_QUALITY = 92
_TRIES = 50
_STROKE = 0.006  # of the scene's longer side


@dataclass(frozen=True)
class TimedPicture:
    """An encoded picture under a name, in ``frames`` that differ in a strip at the top."""

    name: str
    frames: tuple[bytes, ...]
    width: int
    height: int
    marks: int | None = None  # that were drawn; None: not known

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


def read_pictures(paths: Sequence[Path]) -> list[TimedPicture]:
    """The pictures at ``paths``; BenchmarkError for one that cannot be used."""
    pictures: dict[str, TimedPicture] = {}
    for path in paths:
        try:
            pixels = decode(path.read_bytes())
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise BenchmarkError(f"--pictures: {path} {reason}; name files of pictures") from None
        except InvalidInput as error:
            raise BenchmarkError(f"--pictures: {path}: {error.problem}") from None
        if path.name in pictures:
            raise BenchmarkError(f"--pictures: got two called {path.name}; rename one")
        pictures[path.name] = _timed(path.name, pixels, None)
    return list(pictures.values())


def generated_pictures(photos: Path | None, cells: Sequence[tuple[str, int]]) -> list[TimedPicture]:
    """A JPEG for each (name of :data:`SIZES`, marks), the same ones for the same photos."""
    pool = held_out_photos(photos)

    @functools.cache
    def scene(height: int, width: int, number: int) -> Picture:
        return _one_mark(height, width, number, pool)

    found = []
    for size, marks in cells:
        height, width = SIZES[size]
        rows = round(marks**0.5)
        if rows * rows != marks:
            raise BenchmarkError(f"marks: got {marks}, expected a square such as 1, 4 or 16")
        edges = [(height * at // rows, width * at // rows) for at in range(rows + 1)]
        pixels = np.zeros((height, width, 3), np.uint8)
        for row in range(rows):
            for column in range(rows):
                (top, bottom), (left, right) = (
                    (edges[row][0], edges[row + 1][0]), (edges[column][1], edges[column + 1][1])
                )  # fmt: skip
                pixels[top:bottom, left:right] = scene(
                    bottom - top, right - left, (row * rows + column) % 4
                )
        words = f"{size}, {marks} mark{'s' if marks > 1 else ''}"
        found.append(_timed(words, pixels, marks))
    return found


def _one_mark(height: int, width: int, number: int, photos: PhotoPool) -> Picture:
    """The scene ``number`` of those with one mark that is easy to find.

    A picture on which none is found skips half of the stages.
    """
    stroke = max(3.0, _STROKE * max(height, width))
    for seed in range(_TRIES):
        scene = generate(
            seed, photos=photos, size=(height, width), marks=1, kinds=("circle",),
            stroke_width=(stroke, stroke * 1.5), layout="person",
        )  # fmt: skip
        if len(scene.marks) == 1:
            if number == 0:
                return scene.picture
            number -= 1
    raise BenchmarkError(f"too few of {_TRIES} scenes have a mark; pass --pictures")


def _timed(name: str, pixels: Picture, marks: int | None) -> TimedPicture:
    height, width = pixels.shape[:2]
    strip = max(1, height // 32)
    frames = []
    for number in range(FRAMES):
        frame = pixels.copy()
        frame[:strip] = 40 * number
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY)
        frames.append(buffer.getvalue())
    return TimedPicture(name, tuple(frames), width, height, marks)
