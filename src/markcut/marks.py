"""Marks: what several looks at a picture agree on, with ink at the picture's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS
from markcut.geometry import Picture, Window
from markcut.ink import refine_ink
from markcut.looks import Detection, crop_windows, detections

__all__ = [
    "Detection",
    "Mark",
    "Window",
    "crop_windows",
    "detections",
    "merge",
]

_BORDER = 0.015  # of a window's side: what comes nearer to its border is cut by it
_CUT = 0.7  # belief in what the border cuts
_UNCONFIRMED = 0.6  # belief in what a nearer look did not show
_ALIKE = 0.4  # IoU of two boxes of one mark
_WITHIN = 0.8  # part of a box inside of another one


@dataclass(frozen=True)
class Mark:
    """One drawn mark; ``ink`` is a patch whose top left pixel is ``origin`` of the picture."""

    kind: int  # index into contracts.KINDS
    score: float  # 0..1
    box: NDArray[np.float32]  # (4,) xyxy of the ink, pixels of the picture
    ink: NDArray[np.bool_]  # (bh, bw), at least one pixel true
    origin: tuple[int, int]  # x0, y0

    def full_ink(self, height: int, width: int) -> NDArray[np.bool_]:
        """The ink in an array (height, width): the picture's size."""
        full = np.zeros((height, width), np.bool_)
        x, y = self.origin
        rows, columns = self.ink.shape
        full[y : y + rows, x : x + columns] = self.ink
        return full


@dataclass(frozen=True)
class _Seen:
    """A detection with what decides between several of the same mark."""

    detection: Detection
    cut: bool  # by its window's border
    cell: float  # pixels of the picture per cell of the mask


def merge(
    picture: Picture,
    whole: Sequence[Detection],
    crops: Sequence[Detection],
    *,
    threshold: float,
    max_marks: int,
) -> list[Mark]:
    """The marks that ``whole`` and ``crops`` show together, best first, at most ``max_marks``.

    ``whole`` is what YOLO saw in the whole picture, ``crops`` what it saw in all windows, both
    possibly below ``threshold``, which a mark's combined score must reach. The same mark seen
    twice counts once: the finest look that has all of it gives the ink, all looks vote for its
    kind. What a nearer look could see and did not is believed less.
    """
    height, width = picture.shape[:2]
    windows = sorted({d.window for d in crops})
    seen = [_seen(d, height, width) for d in (*whole, *crops) if np.isfinite(d.score)]
    seen.sort(key=lambda s: (s.cut, -s.detection.score))
    groups: list[list[_Seen]] = []
    for one in seen:
        for group in groups:
            if any(_same(one, other) for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    found: list[tuple[float, _Seen, int]] = []
    for group in groups:
        score = max(s.detection.score * (_CUT if s.cut else 1.0) for s in group)
        doubted = any(
            _inside(group[0].detection.box, window) and window != s.detection.window
            for window in windows
            for s in group
        )
        if doubted and len(group) == 1 and not group[0].cut:
            score *= _UNCONFIRMED
        if score < threshold:
            continue
        votes = np.zeros(len(KINDS))
        for one in group:
            votes[one.detection.kind] += one.detection.score * (_CUT if one.cut else 1.0)
        best = min(group, key=lambda s: (s.cut, s.detection.score < 0.5 * score, s.cell))
        found.append((float(score), best, int(votes.argmax())))
    found.sort(key=lambda f: (-round(f[0], 4), float(f[1].detection.box[0])))
    marks = []
    for score, best, kind in found[:max_marks]:
        ink, (x, y) = refine_ink(picture, best.detection)
        box = np.array([x, y, x + ink.shape[1], y + ink.shape[0]], np.float32)
        marks.append(Mark(kind=kind, score=score, box=box, ink=ink, origin=(x, y)))
    return marks


def _seen(detection: Detection, height: int, width: int) -> _Seen:
    x0, y0, x1, y1 = detection.window
    margin = _BORDER * max(x1 - x0, y1 - y0)
    box = detection.box
    cut = bool(
        (x0 > 0 and box[0] < x0 + margin)
        or (y0 > 0 and box[1] < y0 + margin)
        or (x1 < width and box[2] > x1 - margin)
        or (y1 < height and box[3] > y1 - margin)
    )
    across = detection.region[2] - detection.region[0]
    return _Seen(detection, cut, across / max(1, detection.prob.shape[1]))


def _same(one: _Seen, other: _Seen) -> bool:
    """Whether two looks show one mark: boxes alike, or a part of a mark beside all of it."""
    a, b = one.detection.box.astype(np.float64), other.detection.box.astype(np.float64)
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = [max(float(np.prod(v[2:] - v[:2])), 1e-9) for v in (a, b)]
    if common / (sum(areas) - common) > _ALIKE:
        return True
    within = common / min(areas)
    alike = one.detection.kind == other.detection.kind or one.cut or other.cut
    return within > _WITHIN and alike and (one.cut or other.cut or min(areas) > 0.3 * max(areas))


def _inside(box: NDArray[np.float32], window: Window) -> bool:
    x0, y0, x1, y1 = window
    return bool(x0 <= box[0] and y0 <= box[1] and box[2] <= x1 and box[3] <= y1)
