"""Marks: what several looks at a picture agree on, with ink at the picture's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.arrow import has_head
from markcut.belief import Clues, belief, heat_at
from markcut.belief_weights import Weights
from markcut.contracts import KINDS, YOLO_SIDE
from markcut.geometry import Picture, Window
from markcut.ink import refine_ink, trimmed
from markcut.ink_clues import InkJudge
from markcut.looks import BLURRED, Detection, crop_windows, detections
from markcut.sightings import Group, Sighting, group_sightings, sighting

__all__ = [
    "Detection",
    "Mark",
    "Window",
    "crop_windows",
    "detections",
    "ink_with_margin",
    "merge",
]

_ARROW, _LINE = KINDS.index("arrow"), KINDS.index("line")
_PIECES = 4  # of a mark that no look shows whole
_CANDIDATES, _FEWEST = 3, 48  # groups judged for every mark that is wanted; and at least
_DOUBLE = 0.6  # part of one mark's ink that is another's too
_PART = 0.15  # of its ink, up to which a mark may lie on another one's
_INK = 0.5  # probability from which a cell is ink
_EQUAL = 2  # decimals in which scores differ, when marks are put in order

Patch = tuple[NDArray[np.bool_], tuple[int, int]]  # and its origin (x0, y0)


@dataclass(frozen=True)
class Mark:
    """One drawn mark; ``ink`` is a patch whose top left pixel is ``origin`` of the picture."""

    kind: int  # index into contracts.KINDS
    score: float  # 0..1: how sure it is that somebody drew it (``markcut.belief``)
    box: NDArray[np.float32]  # (4,) xyxy of the ink, pixels of the picture
    ink: NDArray[np.bool_]  # (bh, bw), at least one pixel true
    origin: tuple[int, int]  # x0, y0
    clues: Clues | None = None  # to the score

    def full_ink(self, height: int, width: int) -> NDArray[np.bool_]:
        """The ink in an array (height, width): the picture's size."""
        full = np.zeros((height, width), np.bool_)
        x, y = self.origin
        rows, columns = self.ink.shape
        full[y : y + rows, x : x + columns] = self.ink
        return full


def ink_with_margin(mark: Mark, pixels: float, *, height: int, width: int) -> Patch:
    """The ink and everything within ``pixels`` of it: a patch and its origin (x0, y0).

    The patch is clipped to the picture, which is (height, width). What must be off the ink for
    sure (soft edges, JPEG's ringing) should stay out of this.
    """
    reach = int(np.ceil(max(pixels, 0.0)))
    x, y = mark.origin
    rows, columns = mark.ink.shape
    x0, y0 = max(x - reach, 0), max(y - reach, 0)
    x1, y1 = min(x + columns + reach, width), min(y + rows + reach, height)
    free = np.ones((y1 - y0, x1 - x0), np.uint8)
    free[y - y0 : y - y0 + rows, x - x0 : x - x0 + columns] = ~mark.ink
    return cv2.distanceTransform(free, cv2.DIST_L2, 5) <= pixels, (x0, y0)


def merge(
    picture: Picture,
    whole: Sequence[Detection],
    crops: Sequence[Detection],
    heatmap: NDArray[np.float32],
    *,
    windows: Sequence[Window],
    weights: Weights | None,
    threshold: float,
    max_marks: int,
) -> list[Mark]:
    """The marks that ``whole`` and ``crops`` show together, at most ``max_marks``.

    ``whole`` is what YOLO saw in the whole picture, ``crops`` what it saw in all windows, both
    also far below ``threshold``, which a mark's score must reach; ``heatmap`` (s, s) is CLIPSeg's,
    ``weights`` say what the clues to a score count; without them it is YOLO's.
    The same mark seen several times counts once: all looks vote for its kind, the finest that
    has all of it gives the ink, which tells arrows from lines. Ordered by score, equal ones from
    left to right.
    """
    height, width = picture.shape[:2]
    blurred = max(height, width) > BLURRED * YOLO_SIDE  # a look at the whole shows no thin ink
    seen = [sighting(d, height, width) for d in (*whole, *crops) if np.isfinite(d.score)]
    groups = sorted(group_sightings(seen), key=lambda g: (-g.score, float(g.best.box[0])))
    judge = InkJudge(picture)
    marks: list[Mark] = []
    # few wanted are the first of many: which are sure is only known once they are judged
    for group in groups[: max(_CANDIDATES * max_marks, _FEWEST)]:
        score, clues = group.score, None
        if weights is None and score < threshold:
            continue
        ink, (x, y) = _ink(picture, group.pieces())
        if any(_doubles(mark, ink, (x, y)) for mark in marks):
            continue
        if weights is not None:
            distant = score if blurred else group.score_from((0, 0, width, height))
            near = group.score_near(windows)
            clues = Clues(
                kind=group.kind,
                score=score,
                whole=distant,
                near=score if near is None else near,
                heat=heat_at(heatmap, group.best.box, height=height, width=width),
                clear=_clear(group),
                ink=judge.clues(ink, (x, y)),
            )
            score = belief(clues, weights)
        if score >= threshold:
            box = np.array([x, y, x + ink.shape[1], y + ink.shape[0]], np.float32)
            marks.append(Mark(_kind(group.kind, ink), score, box, ink, (x, y), clues))
    marks.sort(key=lambda m: (-round(m.score, _EQUAL), float(m.box[0])))
    return marks[:max_marks]


def _clear(group: Group) -> float:
    prob = group.best.detection.prob
    sure = prob[prob > _INK]
    return float(sure.mean(dtype=np.float64)) if sure.size else 0.0


def _kind(kind: int, ink: NDArray[np.bool_]) -> int:
    """``kind``, but arrows and lines are told apart by their ink where it is clear."""
    if kind not in (_ARROW, _LINE):
        return kind
    head = has_head(ink)
    return kind if head is None else _ARROW if head else _LINE


def _ink(picture: Picture, pieces: Sequence[Sighting]) -> Patch:
    """The ink of all pieces of one mark together."""
    patches = [refine_ink(picture, piece.detection) for piece in pieces[:_PIECES]]
    if len(patches) == 1:
        return patches[0]
    x0, y0 = (min(origin[axis] for _, origin in patches) for axis in (0, 1))
    x1 = max(x + ink.shape[1] for ink, (x, _) in patches)
    y1 = max(y + ink.shape[0] for ink, (_, y) in patches)
    joined = np.zeros((y1 - y0, x1 - x0), np.bool_)
    for ink, (x, y) in patches:
        joined[y - y0 : y - y0 + ink.shape[0], x - x0 : x - x0 + ink.shape[1]] |= ink
    return trimmed(joined, (x0, y0))


def _doubles(mark: Mark, ink: NDArray[np.bool_], origin: tuple[int, int]) -> bool:
    """Whether most of one's ink is the other's, and not a small part of it."""
    (x, y), (u, v) = origin, mark.origin
    left, top = max(x, u), max(y, v)
    right = min(x + ink.shape[1], u + mark.ink.shape[1])
    bottom = min(y + ink.shape[0], v + mark.ink.shape[0])
    if right <= left or bottom <= top:
        return False
    mine = ink[top - y : bottom - y, left - x : right - x]
    other = mark.ink[top - v : bottom - v, left - u : right - u]
    least, most = sorted((np.count_nonzero(ink), np.count_nonzero(mark.ink)))
    return bool(np.count_nonzero(mine & other) > _DOUBLE * least and least > _PART * most)
