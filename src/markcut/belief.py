"""How sure it is that something was drawn, from all that is known once its ink is known.

YOLO judges a look; three things it does not see tell drawn marks from edges and prints, on photos
more than anything else: whether a look at the whole picture shows the mark too, how much CLIPSeg
has to say about the place, and how even the ink's colour is, for a pen has one colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.belief_weights import Weights
from markcut.geometry import Picture

_UNSEEN = 0.01  # score of what no look at the whole picture shows
_CERTAIN = 30.0  # log-odds, beyond which nothing changes
_HEAT_ROOM = 2  # cells of the heat map around a mark's box: heat follows ink loosely
_CORE = 12  # pixels off the ink's soft rim that it takes to judge it by them
_SAMPLE = 4096  # pixels that are looked at
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Clues:
    """What is known of one candidate for a mark."""

    kind: int  # index into KINDS
    score: float  # YOLO's in the surest of all looks, 0..1
    whole: float | None  # YOLO's in the surest look at the whole picture; None: not seen there
    heat: float  # :func:`heat_at`, 0..1
    spread: float  # :func:`colour_spread`; 0 is the most even ink there can be

    def values(self) -> tuple[float, float, float, float]:
        """The clues but the kind as the regression takes them, in the order of its CLUES."""
        whole = _UNSEEN if self.whole is None else self.whole
        return _logit(self.score), _logit(whole), self.heat, math.log1p(self.spread)


def belief(clues: Clues, weighed: Weights | None) -> float:
    """How sure it is, 0..1, that the mark was drawn.

    A probability by ``weighed``; without them, YOLO's word is all that counts: its score.
    """
    if weighed is None:
        return clues.score
    odds = float(np.dot(clues.values(), weighed.clues)) + weighed.kinds[clues.kind]
    odds = min(max(odds, -_CERTAIN), _CERTAIN)
    return float(np.float32(1 / (1 + math.exp(-odds))))  # as it goes over every wire


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
    return math.log(share / (1 - share))
