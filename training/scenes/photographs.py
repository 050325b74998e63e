"""One photo with its objects: things, people, or a real photo, where objects may be known."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes import backgrounds
from training.scenes.board import Board, least_pixels
from training.scenes.known import photo_with_objects
from training.scenes.objects import scatter, spread
from training.scenes.persons import people
from training.scenes.photos import PhotoPool
from training.scenes.scene import Canvas

SMALLEST_RENDER = 96  # photos with a shorter side than this are made twice as big and reduced
KNOWN = 0.3  # share of other photos that are real ones with known objects, where there are any
REAL = 0.75  # the same of real ones
TINY = 64  # photos with a shorter side than this are often real ones, and never crowded


def photograph(
    rng: np.random.Generator, h: int, w: int, photos: PhotoPool, *, kind: str | None = None
) -> Canvas:
    """A photo of (h, w); ``kind`` is ``plain`` (things), ``person`` or ``photo``, else random."""
    tiny = min(h, w) < TINY
    shares = [0.3, 0.3, 0.4] if tiny else [0.45, 0.48, 0.07]
    name = kind or str(rng.choice(["plain", "person", "photo"], p=shares))
    share = REAL if name == "photo" else 0.0 if kind else KNOWN
    if photos.known and rng.random() < share:
        return photo_with_objects(rng, h, w, photos).finish(rng, layout="photo")
    if min(h, w) >= SMALLEST_RENDER:
        return _photograph(rng, h, w, photos, name)
    return _reduced(_photograph(rng, 2 * h, 2 * w, photos, name), h, w)


def _photograph(rng: np.random.Generator, h: int, w: int, photos: PhotoPool, kind: str) -> Canvas:
    if kind == "photo":
        return Board(backgrounds.photo(rng, h, w, photos)).finish(rng, layout=kind)
    calm = rng.random() < (0.5 if kind == "person" else 0.25)
    board = Board(backgrounds.background(rng, h, w, photos, calm=calm))
    feather = float(rng.uniform(0.3, 0.9)) * max(1.0, min(h, w) / 700)
    if kind == "person":
        crowd = min(h, w) >= 2 * SMALLEST_RENDER
        people(board, rng, photos, feather=feather, crowd=crowd)
        if crowd and rng.random() < 0.15:
            scatter(board, rng, photos, count=int(rng.integers(1, 3)), clothes=0.3, feather=feather)
    else:
        most = 9 if min(h, w) > 2 * TINY else 4
        count, clothes = int(rng.integers(1, most)), float(rng.choice([0, 0.3, 1]))
        if rng.random() < 0.22:
            spread(board, rng, photos, count=max(2, count), feather=feather)
        else:
            scatter(board, rng, photos, count=count, clothes=clothes, feather=feather)
    if rng.random() < 0.5:  # one light over everything
        board.picture = backgrounds.relit(rng, board.picture)
    scale = max(1.0, min(h, w) / 800)
    blur = float(rng.uniform(0, 0.8)) * scale if rng.random() < 0.4 else 0.0
    noise = float(rng.uniform(0, 6)) if rng.random() < 0.6 else 0.0
    return board.finish(rng, layout=kind, blur=blur, noise=noise)


def _reduced(canvas: Canvas, h: int, w: int) -> Canvas:
    picture = cv2.resize(canvas.picture, (w, h), interpolation=cv2.INTER_AREA)
    names = cv2.resize(canvas.instances, (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
    seen = np.bincount(names.ravel(), minlength=int(canvas.instances.max()) + 1)
    kept = tuple(k for k in canvas.markable if seen[k] >= least_pixels(names.size))
    return Canvas(
        np.asarray(picture, np.uint8), np.asarray(names, np.int32), kept, layout=canvas.layout
    )
