"""The encoded pictures that the latency benchmark sends: a user's, or generated ones."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.errors import BenchmarkError
from benchmarks.held_out import held_out_photos
from markcut.errors import InvalidInput
from markcut.images import decode
from training.scenes import generate
from training.scenes.photos import PhotoPool

_SIZES = {"0.3 MP": (480, 640), "1 MP": (864, 1152), "12 MP": (3000, 4000)}
_JPEG_QUALITY = 92
_TRIES = 50


@dataclass(frozen=True)
class TimedPicture:
    """An encoded picture under a name, and how big it is."""

    name: str
    data: bytes
    width: int
    height: int


def read_pictures(paths: Sequence[Path]) -> list[TimedPicture]:
    """The pictures at ``paths``; BenchmarkError for one that cannot be used."""
    pictures: dict[str, TimedPicture] = {}
    for path in paths:
        try:
            data = path.read_bytes()
            height, width = decode(data).shape[:2]
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise BenchmarkError(f"--pictures: {path} {reason}; name files of pictures") from None
        except InvalidInput as error:
            raise BenchmarkError(f"--pictures: {path}: {error.problem}") from None
        if path.name in pictures:
            raise BenchmarkError(f"--pictures: got two called {path.name}; rename one")
        pictures[path.name] = TimedPicture(path.name, data, width, height)
    return list(pictures.values())


def generated_pictures(photos: Path | None) -> list[TimedPicture]:
    """JPEGs of three sizes with one mark each, always the same ones for the same photos."""
    pool = held_out_photos(photos)
    return [_one_mark(name, size, pool) for name, size in _SIZES.items()]


def _one_mark(name: str, size: tuple[int, int], photos: PhotoPool) -> TimedPicture:
    for seed in range(_TRIES):
        # a mark that is easy to find: a picture on which none is found skips half of the stages
        scene = generate(
            seed, photos=photos, size=size, marks=1, kinds=("circle",), stroke_width=(6.0, 9.0),
            layout="person",
        )  # fmt: skip
        if len(scene.marks) == 1:
            buffer = io.BytesIO()
            Image.fromarray(scene.picture).save(buffer, "JPEG", quality=_JPEG_QUALITY)
            return TimedPicture(name, buffer.getvalue(), size[1], size[0])
    raise BenchmarkError(f"none of {_TRIES} scenes of {name} has a mark; pass --pictures")
