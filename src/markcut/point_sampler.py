"""Marks to prompts: points inside what a mark means, and never on ink.

Every mark gets several hypotheses, the most likely one first. They differ where the mark leaves
room for doubt: how far beyond an arrow's tip, on which side of a stroke, one point or several or
a box. All of them go through the decoder in one batch; mask selection decides. On a picture with
many marks each has its first one alone, for the decoder's time grows with every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.geometry import Picture, Window
from markcut.hypotheses import hypotheses
from markcut.marks import Mark
from markcut.views import look

FOREGROUND, BOX_START, BOX_END, PADDING = 1, 2, 3, -1
"""Labels of SAM2 prompts."""

_CROWD = 4
"""More marks than these get one hypothesis each. On 306 drawn marks the objects' IoU was lower by
0.001 (deviation 0.005) with the first one than with all, at a quarter of the decoder's time; with
two or three it was lower by 0.006 to 0.008."""

_REACH = 0.07  # of the diagonal: what a view shows around the ink


@dataclass(frozen=True)
class Prompts:
    """Prompts of all marks, ready to be batched: row n is one hypothesis.

    Rows of one mark follow each other, the most likely hypothesis first. A box's corners come
    before the points.
    """

    coords: NDArray[np.float32]  # (N, P, 2) xy, pixels of the picture; a pixel's centre is at .5
    labels: NDArray[np.int32]  # (N, P) 1 foreground, 2 and 3 a box's corners, -1 padding
    owners: NDArray[np.int32]  # (N,) index of the mark


def sample_prompts(
    picture: Picture, marks: Sequence[Mark], *, seed: int = 0, points_per_mark: int = 3
) -> Prompts:
    """Prompts for ``marks`` on ``picture``, uint8 RGB (h, w, 3).

    Up to four marks have several hypotheses each, more marks one each. A hypothesis has at most
    ``points_per_mark`` foreground points. The same arguments give the same prompts. Foreground
    points lie inside the picture and on no mark's ink, as long as any pixel is free of it.
    """
    height, width = picture.shape[:2]
    reach = _REACH * float(np.hypot(height, width))
    hypotheses_each = 1 if len(marks) > _CROWD else None
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32] | None]] = []
    owners: list[int] = []
    for index, mark in enumerate(marks):
        view = look(picture, marks, index, reach=reach)
        if view.ink.all():
            rows.append((_anywhere_free(marks, index, height, width), None))
            owners.append(index)
            continue
        rng = np.random.default_rng((seed, index))
        found = hypotheses(view, mark.kind, rng=rng, most=points_per_mark)
        for points, box in found[:hypotheses_each]:
            corners = None if box is None else view.corners(box)
            rows.append((view.to_picture(points), corners))
            owners.append(index)
    most = max((len(points) + 2 * (box is not None) for points, box in rows), default=1)
    coords = np.zeros((len(rows), most, 2), np.float32)
    labels = np.full((len(rows), most), PADDING, np.int32)
    for row, (inside, corners) in enumerate(rows):
        start = 0
        if corners is not None:
            start = 2
            coords[row, :2], labels[row, :2] = corners, (BOX_START, BOX_END)
        coords[row, start : start + len(inside)] = inside
        labels[row, start : start + len(inside)] = FOREGROUND
    return Prompts(coords=coords, labels=labels, owners=np.array(owners, np.int32))


def decoder_feeds(prompts: Prompts, side: int, *, window: Window) -> list[NDArray[Any]]:
    """``prompts`` as the decoder's last four inputs, in their order.

    ``side`` is S, ``window`` what SAM2 sees of the picture. SAM2 counts pixels from
    their centres, so half a pixel is taken off.
    """
    rows = len(prompts.owners)
    start, end = np.array(window, np.float32).reshape(2, 2)
    coords = (prompts.coords - start) * (side / (end - start)) - 0.5
    coords[prompts.labels == PADDING] = 0
    return [
        coords.astype(np.float32),
        prompts.labels,
        np.zeros((rows, 1, side // 4, side // 4), np.float32),
        np.zeros(rows, np.float32),
    ]


def _anywhere_free(
    marks: Sequence[Mark], index: int, height: int, width: int
) -> NDArray[np.float32]:
    """The pixel (1, 2) nearest to a mark that no ink covers; where there is none, its middle."""
    ink = np.zeros((height, width), np.bool_)
    for mark in marks:
        x, y = mark.origin
        ink[y : y + mark.ink.shape[0], x : x + mark.ink.shape[1]] |= mark.ink
    mark = marks[index]
    middle = np.array(mark.origin) + np.array(mark.ink.shape[::-1]) // 2
    ys, xs = np.nonzero(~ink)
    if len(xs):
        at = int(((xs - middle[0]) ** 2 + (ys - middle[1]) ** 2).argmin())
        middle = np.array([xs[at], ys[at]])
    return np.asarray(middle[None] + 0.5, np.float32)
