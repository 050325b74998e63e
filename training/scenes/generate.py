"""One scene from one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from markcut.contracts import KINDS
from training.scenes.degrade import camera, transport
from training.scenes.distractors import add_distractors
from training.scenes.layouts import make_canvas
from training.scenes.marks import LEAST_WIDTH, draw_marks
from training.scenes.pens import INK_SHARE
from training.scenes.photos import PhotoPool
from training.scenes.scene import Picture, Scene, SceneMark

SMALLEST_SIDE = 180
_MOST_PIXELS = 12_000_000
# How often a picture with objects has 0, 1, ... marks; with those without any object, about one
# picture in seven is unmarked.
_COUNTS = (0.03, 0.35, 0.27, 0.16, 0.09, 0.06, 0.04)
_SHRUNK = 0.15  # share of the small pictures that are reduced from larger ones
_SHRUNK_PIXELS = 500_000

cv2.setNumThreads(1)


def choose_size(rng: np.random.Generator) -> tuple[int, int]:
    """(h, w): mostly 0.1 to 1.5 MP, sometimes down to 180 px or up to 12 MP."""
    dice = rng.random()
    low, high = 0.1e6, 1.5e6
    if dice < 0.10:
        low, high = SMALLEST_SIDE**2, 0.1e6
    elif dice > 0.94:
        low, high = 1.5e6, _MOST_PIXELS
    area = np.exp(rng.uniform(np.log(low), np.log(high)))
    aspect = float(rng.choice([0.46, 0.5625, 0.667, 0.75, 0.8, 1.0, 1.25, 1.333, 1.5, 1.778]))
    aspect *= float(np.exp(rng.normal(0, 0.03)))
    height, width = np.sqrt(area / aspect), np.sqrt(area * aspect)
    short = min(height, width)
    grow = max(1.0, SMALLEST_SIDE / short)
    return int(height * grow), int(width * grow)


def generate(
    seed: int,
    *,
    photos: PhotoPool,
    size: tuple[int, int] | None = None,
    marks: int | None = None,
    kinds: Sequence[str] | None = None,
    stroke_width: tuple[float, float] | None = None,
    layout: str | None = None,
) -> Scene:
    """The scene of ``seed``: a picture with marks drawn on it, and its exact truth.

    The same arguments give the same scene. ``size`` is (h, w), drawn from 180 px to 12 MP when
    None; ``marks`` the number of marks to try for (0..6 when None; fewer when the picture has not
    enough objects); ``kinds`` the kinds to choose from; ``stroke_width`` a range in pixels;
    ``layout`` one of the layouts' names. Raises ValueError for an unknown kind.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise ValueError(f"kinds: got {kind!r}, expected some of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    size = size or choose_size(rng)
    shrink = float(rng.uniform(1.3, 2.2)) if rng.random() < _SHRUNK else 1.0
    if size[0] * size[1] > _SHRUNK_PIXELS:
        shrink = 1.0
    if marks is None:
        marks = int(rng.choice(len(_COUNTS), p=_COUNTS))
    drawn_at = round(size[0] * shrink), round(size[1] * shrink)
    canvas = make_canvas(rng, size=drawn_at, photos=photos, layout=layout)
    screenshot = canvas.layout == "screenshot"
    clean = canvas.picture.copy()
    # half of the pictures have distractors, in the scene or laid over it; screenshots have icons
    # and print of their own
    things = float(rng.random()) * (2.0 if screenshot else 1.0)
    if things < 0.2:
        add_distractors(rng, canvas, clean)
    if not screenshot:
        clean = camera(rng).apply(clean)
    if 0.2 <= things < 0.5:
        add_distractors(rng, canvas, clean)
    picture = clean.copy()
    widths = None if stroke_width is None else (stroke_width[0] * shrink, stroke_width[1] * shrink)
    chosen = tuple(kinds or KINDS)
    drawn = draw_marks(
        rng, canvas, picture, count=marks, kinds=chosen, widths=widths,
        least_width=LEAST_WIDTH * shrink,
    )  # fmt: skip
    instances, markable = canvas.instances, canvas.markable
    if shrink > 1.0:
        picture, clean = _resized(picture, size), _resized(clean, size)
        small = cv2.resize(instances, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        instances = np.asarray(small, np.int32)
        drawn = tuple(m for m in (_reduced(m, size, shrink) for m in drawn) if m.ink.any())
        left = set(np.unique(instances).tolist())
        markable = tuple(i for i in markable if i in left)
    sending = transport(rng, screenshot=screenshot)
    return Scene(
        picture=sending.apply(picture),
        clean=sending.apply(clean),
        instances=instances,
        marks=drawn,
        markable=markable,
        layout=canvas.layout,
        seed=seed,
    )


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _reduced(mark: SceneMark, size: tuple[int, int], shrink: float) -> SceneMark:
    share = cv2.resize(mark.ink.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    tip = None if mark.tip is None else (mark.tip[0] / shrink, mark.tip[1] / shrink)
    return replace(mark, ink=share >= INK_SHARE, width=mark.width / shrink, tip=tip)
