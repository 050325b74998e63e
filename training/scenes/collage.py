"""Several photos in one picture."""

from __future__ import annotations

import numpy as np

from training.scenes import materials
from training.scenes.board import least_pixels
from training.scenes.photographs import photograph
from training.scenes.photos import PhotoPool
from training.scenes.scene import Canvas, Picture

Box = tuple[int, int, int, int]  # xyxy, pixels


def collage(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Canvas:
    """Two to nine photos side by side, with or without gaps."""
    picture = np.empty((h, w, 3), np.uint8)
    picture[:] = materials.dye(rng) if rng.random() < 0.3 else float(rng.choice([255, 0, 240]))
    gap = round(min(h, w) * float(rng.choice([0, 0, 0.005, 0.01, 0.02])))
    margin = gap if rng.random() < 0.5 else 0
    inner = (margin, margin, w - margin, h - margin)
    count = int(rng.integers(2, 10))
    boxes = _regular(inner, count, gap) if rng.random() < 0.5 else _cut(rng, inner, count, gap)
    return paste_photos(rng, picture, boxes, photos, layout="collage", family=rng.random() < 0.4)


def paste_photos(
    rng: np.random.Generator,
    picture: Picture,
    boxes: list[Box],
    photos: PhotoPool,
    *,
    layout: str,
    family: bool,
) -> Canvas:
    """Fill ``boxes`` (inside ``picture``, which is written to) with a photo each; ids stay unique.

    Photos of a ``family`` are all of one kind, as in a shop's post.
    """
    instances = np.zeros(picture.shape[:2], np.int32)
    kind = str(rng.choice(["person", "person", "plain"])) if family else None
    markable: list[int] = []
    last = 0
    for x0, y0, x1, y1 in boxes:
        tile = photograph(rng, y1 - y0, x1 - x0, photos, kind=kind)
        picture[y0:y1, x0:x1] = tile.picture
        instances[y0:y1, x0:x1] = np.where(tile.instances > 0, tile.instances + last, 0)
        markable += [k + last for k in tile.markable]
        last += int(max(tile.instances.max(), max(tile.markable, default=0)))
    seen = np.bincount(instances.ravel(), minlength=last + 1)
    kept = tuple(k for k in markable if seen[k] >= least_pixels(instances.size))
    return Canvas(picture, instances, kept, photos=tuple(boxes), layout=layout)


def _regular(box: Box, count: int, gap: int) -> list[Box]:
    """Equal tiles in rows; at most ``count``."""
    x0, y0, x1, y1 = box
    across = max(1, round(float(np.sqrt(count * (x1 - x0) / (y1 - y0)))))
    down = max(1, count // across)
    xs = np.linspace(x0, x1 + gap, across + 1).astype(int).tolist()
    ys = np.linspace(y0, y1 + gap, down + 1).astype(int).tolist()
    tiles = [
        (xs[i], ys[j], xs[i + 1] - gap, ys[j + 1] - gap) for j in range(down) for i in range(across)
    ]
    return [t for t in tiles if min(t[2] - t[0], t[3] - t[1]) >= 8]


def _cut(rng: np.random.Generator, box: Box, count: int, gap: int) -> list[Box]:
    """``box`` divided by straight cuts, always the biggest piece."""
    pieces = [box]
    while len(pieces) < count:
        pieces.sort(key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        x0, y0, x1, y1 = pieces.pop()
        share = float(rng.choice([0.5, 0.5, 0.33, 0.6]))
        if max(x1 - x0, y1 - y0) < 2 * gap + 40:
            return [*pieces, (x0, y0, x1, y1)]
        if x1 - x0 > y1 - y0:
            cut = x0 + int((x1 - x0 - gap) * share)
            pieces += [(x0, y0, cut, y1), (cut + gap, y0, x1, y1)]
        else:
            cut = y0 + int((y1 - y0 - gap) * share)
            pieces += [(x0, y0, x1, cut), (x0, cut + gap, x1, y1)]
    return pieces
