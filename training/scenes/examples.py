"""``python -m training.scenes.examples``: draws the pictures of ``examples/``.

Real photos that come with scikit-image and scikit-learn, marked by the generator's hand on objects
whose outlines are roughly given here, and generated scenes made of nothing but code.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from markcut.contracts import KINDS
from training.scenes import generate
from training.scenes.marks import draw_marks
from training.scenes.photos import PhotoPool
from training.scenes.scene import Canvas

Ellipse = tuple[float, float, float, float, float]  # centre xy, half axes, degrees

_QUALITY = 90


@dataclass(frozen=True)
class _Photo:
    name: str
    marks: tuple[tuple[str, Ellipse], ...]  # kind and rough outline of the object it means
    seed: int
    width: float


_PHOTOS = (
    _Photo(
        "astronaut",
        (
            ("circle", (172, 387, 40, 40, 0)),
            ("tick", (385, 435, 100, 82, 0)),
            ("arrow", (406, 170, 38, 112, 0)),
        ),
        seed=5,
        width=6,
    ),
    _Photo("coffee", (("circle", (368, 280, 42, 46, 0)), ("cross", (130, 240, 45, 60, 0))), 2, 6),
    _Photo("flower", (("circle", (307, 221, 140, 135, 0)),), 3, 7),
    _Photo("rocket", (("arrow", (322, 270, 18, 140, 0)),), 4, 6),
    _Photo("chelsea", (("dot", (265, 245, 32, 22, 0)), ("circle", (172, 116, 38, 34, 0))), 5, 5),
    _Photo("china", (("tick", (205, 220, 110, 120, 0)),), 6, 7),
)
_SCENES = (  # name, seed (never trained on), (h, w)
    ("outfit", 2147500007, (900, 720)),
    ("screenshot", 2147500016, (900, 720)),
    ("dress", 2147500017, (900, 720)),
    ("handbag", 2147500022, (900, 720)),
)


def _load(name: str) -> NDArray[np.uint8]:
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        return np.array(load_sample_image(f"{name}.jpg"), np.uint8)
    from skimage import data

    return np.array(getattr(data, name)(), np.uint8)


def _marked(photo: _Photo) -> NDArray[np.uint8]:
    picture = _load(photo.name)
    rng = np.random.default_rng(photo.seed)
    for kind, (x, y, a, b, turn) in photo.marks:
        instances = np.zeros(picture.shape[:2], np.int32)
        cv2.ellipse(instances, (round(x), round(y)), (round(a), round(b)), turn, 0, 360, 1, -1)
        canvas = Canvas(picture, instances, markable=(1,))
        drawn = draw_marks(
            rng,
            canvas,
            picture,
            count=1,
            kinds=(kind,),
            widths=(0.8 * photo.width, 1.2 * photo.width),
        )
        if not drawn:
            raise SystemExit(f"{photo.name}: no room for a {kind}; choose another seed or outline")
    return picture


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pool = PhotoPool.load(None, split="all")
    pictures = {photo.name: _marked(photo) for photo in _PHOTOS}
    for name, seed, size in _SCENES:
        pictures[name] = generate(seed, photos=pool, size=size).picture
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=_QUALITY, subsampling=0)
    print(f"{len(pictures)} pictures with marks of {len(KINDS)} kinds in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("examples"))
