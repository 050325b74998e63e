"""How sure it is that something was drawn, from all that is known once its ink is known.

YOLO judges a look. What tells drawn marks from edges, prints and icons beside that: whether other
looks show the mark too, how much CLIPSeg has to say about the place, and the ink itself
(:mod:`markcut.ink_clues`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markcut.belief_weights import CLUES, Weights
from markcut.ink_clues import InkClues

_UNSEEN = 0.01  # score of what no look at the whole picture shows
_CERTAIN = 30.0  # log-odds, beyond which nothing changes
_HEAT_ROOM = 2  # cells of the heat map around a mark's box: heat follows ink loosely
_RARE = 0.001  # share of a picture, below which a colour is as good as nowhere


@dataclass(frozen=True)
class Clues:
    """What is known of one candidate for a mark."""

    kind: int  # index into KINDS
    score: float  # YOLO's in the surest of all looks, 0..1
    whole: float | None  # YOLO's in the surest look at the whole picture; None: not seen there
    near: float  # YOLO's on average in the nearer looks at the place, 0..1
    heat: float  # :func:`heat_at`, 0..1
    clear: float  # YOLO's probability of ink where it sees ink, on average, 0..1
    ink: InkClues

    def values(self) -> tuple[float, ...]:
        """The clues but the kind as numbers of a like size, in the order of CLUES."""
        whole = _UNSEEN if self.whole is None else self.whole
        ink = self.ink
        named = {
            "score": _logit(self.score),
            "whole": _logit(whole),
            "near": _logit(self.near),
            "heat": self.heat,
            "clear": self.clear,
            "extent": math.log(ink.extent),
            "width": math.log(ink.width),
            "aspect": math.log(ink.aspect),
            "fill": ink.fill,
            "border": float(ink.border),
            "spread": math.log1p(ink.spread),
            "surroundings": math.log1p(ink.surroundings),
            "rarity": math.log(ink.rarity + _RARE),
            "chroma": math.log1p(ink.chroma),
        }
        return tuple(named[name] for name in CLUES)


def belief(clues: Clues, weights: Weights) -> float:
    """How sure it is, 0..1, that the mark was drawn."""
    odds = min(max(weights.odds(clues.values(), clues.kind), -_CERTAIN), _CERTAIN)
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


def _logit(share: float) -> float:
    share = min(max(share, _UNSEEN), 1 - _UNSEEN)
    return math.log(share / (1 - share))
