"""How sure it is that something was drawn, from all that is known once its ink is known.

YOLO judges a look; three things it does not see tell drawn marks from edges and prints, on photos
more than anything else: whether a look at the whole picture shows the mark too, how much CLIPSeg
has to say about the place, and how even the ink's colour is, for a pen has one colour.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.geometry import Picture

_UNSEEN = 0.01  # score of what no look at the whole picture shows
_HEAT_ROOM = 2  # cells of the heat map around a mark's box: heat follows ink loosely
_CORE = 12  # pixels off the ink's soft rim that it takes to judge it by them
_SAMPLE = 4096  # pixels that are looked at
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class _Weights(NamedTuple):
    """What the clues count, in log-odds."""

    score: float  # logit of the surest look's score
    whole: float  # logit of the score in the surest look at the whole picture
    heat: float  # the heat map's largest value at the mark, 0..1
    uneven: float  # log1p of how far the ink's colours lie from their median, in CIELAB


# A logistic regression on what the demo's YOLO saw on generated scenes and on photos of the
# training split, most of them with a mark by benchmarks/pen.py: 1811 candidates, 37 % drawn.
_WEIGHTS = _Weights(score=0.68, whole=0.33, heat=1.36, uneven=-0.34)
# arrow, circle, cross, dot, line, tick, other: YOLO is less sure of thin marks than it could be
_KINDS = (0.48, -0.94, -0.74, -1.02, -0.11, -0.05, -1.09)


def belief(kind: int, score: float, whole: float | None, heat: float, spread: float) -> float:
    """The probability, 0..1, that a mark of ``kind`` (index into KINDS) was drawn.

    ``score`` and ``whole`` are YOLO's in the surest of all looks and in the surest one at the
    whole picture (None: not seen there), 0..1; ``heat`` is :func:`heat_at`, ``spread``
    :func:`colour_spread`. It falls as ``spread`` grows: 0 gives the most it can be.
    """
    clues = (
        _logit(score),
        _logit(_UNSEEN if whole is None else whole),
        heat,
        float(np.log1p(spread)),
    )
    odds = float(np.dot(clues, _WEIGHTS)) + _KINDS[kind]
    return float(np.float32(1 / (1 + np.exp(-odds))))  # as it goes over every wire


def heat_at(
    heatmap: NDArray[np.float32], box: NDArray[np.float32], *, height: int, width: int
) -> float:
    """The largest value of ``heatmap`` (s, s) in and around ``box``, xyxy of a picture."""
    rows, columns = heatmap.shape
    scale = np.array([columns / width, rows / height] * 2)
    x0, y0, x1, y1 = (box * scale).tolist()
    left, top = (max(0, int(v) - _HEAT_ROOM) for v in (x0, y0))
    part = heatmap[top : int(np.ceil(y1)) + _HEAT_ROOM, left : int(np.ceil(x1)) + _HEAT_ROOM]
    return float(np.clip(np.nan_to_num(part, nan=0.0).max(initial=0.0), 0, 1))


def colour_spread(picture: Picture, ink: NDArray[np.bool_], origin: tuple[int, int]) -> float:
    """How far the colours of ``ink`` lie from their median: half of them at most so far.

    ``ink`` (h, w) is a patch of the picture whose top left pixel is ``origin``. Its soft rim is
    left out where enough remains. The distance is the sum over the channels of CIELAB.
    """
    x, y = origin
    patch = picture[y : y + ink.shape[0], x : x + ink.shape[1]]
    core = cv2.erode(ink.astype(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    where = np.flatnonzero(core)
    if len(where) < _CORE:
        where = np.flatnonzero(ink)
    where = where[:: -(-len(where) // _SAMPLE)]
    colours = patch[np.divmod(where, ink.shape[1])][None].astype(np.float32) / 255
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0]
    away = np.abs(lab - np.median(lab, axis=0)).sum(axis=1)
    return float(np.median(away))


def _logit(share: float) -> float:
    share = min(max(share, _UNSEEN), 1 - _UNSEEN)
    return float(np.log(share / (1 - share)))
