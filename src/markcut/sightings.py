"""Sightings: what single looks show of marks, and which of them are the same mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS
from markcut.geometry import Window
from markcut.looks import Detection

_BORDER = 0.01  # of a window's side: what comes nearer to its border is cut by it
_CUT = 0.7  # belief in what the border cuts
_ALIKE = 0.6  # IoU of two boxes of one mark
_SHARED = 0.55  # part of the ink of one of two sightings of one mark that is the other's too
_PART = 0.15  # of a mark's ink; less than that, both shown whole, is another mark
_GRID = 48  # points on a side where ink of two sightings is compared
_HARDLY = 0.25  # score up to which a look has not seen it; weaker ones are not always asked for
_LOOSE = 2.0  # pixels by which a box may leave its window
_FAITHFUL = 0.5  # of the best score, and IoU of boxes, from which a look may give the ink


@dataclass(frozen=True)
class Sighting:
    """A detection with what decides between several of the same mark."""

    detection: Detection
    cut: bool  # by its window's border
    cell: float  # side of its mask's cells, pixels of the picture

    @property
    def score(self) -> float:
        return self.detection.score

    @property
    def box(self) -> NDArray[np.float32]:
        return self.detection.box


def sighting(detection: Detection, height: int, width: int) -> Sighting:
    """``detection`` on a picture (height, width); the picture's own border cuts nothing."""
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
    return Sighting(detection, cut, across / max(1, detection.prob.shape[1]))


@dataclass(frozen=True)
class Group:
    """All sightings of one mark, complete ones first, then by score."""

    sightings: tuple[Sighting, ...]

    @property
    def _whole(self) -> tuple[Sighting, ...]:
        """Those that show the whole mark, going by the surest of them; never empty.

        A box that ends a little before its window's border may be cut all the same, so a window
        must reach as far as the surest sighting does.
        """
        surest = self.sightings[0]
        return tuple(
            s for s in self.sightings if s is surest or (not s.cut and _holds(s, surest.box))
        )

    @property
    def best(self) -> Sighting:
        """The finest look that shows the whole mark, if it agrees with the surest on it."""
        surest = self.sightings[0]
        agreed = (
            s
            for s in self._whole
            if s.score >= _FAITHFUL * surest.score and _iou(s.box, surest.box) >= _FAITHFUL
        )
        return min(agreed, key=lambda s: (s.cell, -s.score))

    @property
    def kind(self) -> int:
        """By a vote of those that show the whole mark, the surer the heavier."""
        votes = np.zeros(len(KINDS))
        for one in self._whole:
            votes[one.detection.kind] += one.score
        return int(votes.argmax())

    def pieces(self) -> tuple[Sighting, ...]:
        """What makes up the mark's ink: the best sighting, or all if every one is cut."""
        if not self.sightings[0].cut:
            return (self.best,)
        return tuple(sorted(self.sightings, key=lambda s: s.cell))

    @property
    def score(self) -> float:
        """That of the surest look: what another one does not show says little against it."""
        return max(map(_belief, self.sightings))

    def score_from(self, window: Window) -> float | None:
        """That of the surest look at ``window``; None if none of them shows the mark."""
        scores = [s.score for s in self.sightings if s.detection.window == window]
        return max(scores, default=None)

    def score_near(self, windows: Sequence[Window]) -> float | None:
        """Mean over those of ``windows`` that hold the mark's box; None if none does.

        Of every window the surest look counts; that it was not seen, or hardly, counts alike.
        """
        x0, y0, x1, y1 = self.best.box
        scores = [
            max(self.score_from(window) or 0.0, _HARDLY)
            for window in windows
            if window[0] <= x0 + _LOOSE
            and window[1] <= y0 + _LOOSE
            and window[2] >= x1 - _LOOSE
            and window[3] >= y1 - _LOOSE
        ]
        return sum(scores) / len(scores) if scores else None


def group_sightings(sightings: Sequence[Sighting]) -> list[Group]:
    """Sightings put together by the mark they show; every one belongs to one group.

    The complete and sure ones found groups; what is cut by its window can join on account of
    any member, so that pieces in a row become one mark.
    """
    groups: list[list[Sighting]] = []
    for one in sorted(sightings, key=lambda s: (s.cut, -s.score)):
        for group in groups:
            members = group if group[0].cut else group[:1]
            if any(_same(one, other) for other in members):
                group.append(one)
                break
        else:
            groups.append([one])
    return [Group(tuple(group)) for group in groups]


def _belief(one: Sighting) -> float:
    return one.score * (_CUT if one.cut else 1.0)


def _holds(one: Sighting, box: NDArray[np.float32]) -> bool:
    x0, y0, x1, y1 = one.detection.window
    return bool((box[:2] >= (x0, y0)).all() and (box[2:] <= (x1, y1)).all())


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / max(union, 1e-9)


def _same(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings show one mark, judged where both looked."""
    if _apart(one.box, other.box):  # most are, and this is quick
        return False
    a, b, u, v = (one.box, other.box, one.detection.window, other.detection.window)
    x0, y0 = max(u[0], v[0]), max(u[1], v[1])
    x1, y1 = min(u[2], v[2]), min(u[3], v[3])
    a = np.clip(a, (x0, y0, x0, y0), (x1, y1, x1, y1))
    b = np.clip(b, (x0, y0, x0, y0), (x1, y1, x1, y1))
    if (np.minimum(a[2:], b[2:]) <= np.maximum(a[:2], b[:2])).any():
        return False
    if one.detection.kind == other.detection.kind and _iou(a, b) > _ALIKE:
        return True
    low, high = np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])
    xs = np.linspace(low[0], high[0], 2 * _GRID + 1)[1::2]
    ys = np.linspace(low[1], high[1], 2 * _GRID + 1)[1::2]
    ink, more = _ink_at(one.detection, xs, ys), _ink_at(other.detection, xs, ys)
    least, most = sorted((np.count_nonzero(ink), np.count_nonzero(more)))
    if not (one.cut or other.cut) and least < _PART * most:
        return False  # a dot on a circle's line
    return bool(least > 0 and np.count_nonzero(ink & more) > _SHARED * least)


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1])


def _ink_at(
    detection: Detection, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the network sees ink, at every pair of ``xs`` and ``ys``: (len(ys), len(xs))."""
    rows, columns = detection.prob.shape
    x0, y0, x1, y1 = detection.region
    column = np.floor((xs - x0) / (x1 - x0) * columns).astype(int)
    row = np.floor((ys - y0) / (y1 - y0) * rows).astype(int)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    prob = detection.prob[np.clip(row, 0, rows - 1)[:, None], np.clip(column, 0, columns - 1)]
    return np.asarray(inside & (prob > 0.5 * min(1.0, float(detection.prob.max()))))
