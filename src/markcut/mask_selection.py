"""Candidate masks to one mask per mark, knowing the mark, with the reason in words.

Every candidate gets a score that estimates its IoU with what the person means: a weighted sum of
the features of :mod:`markcut.candidates`. The best one is cleaned and scaled to the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.candidates import FEATURES, MarkGrids, feature_table, ink_grid, mark_grids
from markcut.contracts import KINDS, SAM2_DECODER
from markcut.marks import Mark
from markcut.mask_shape import clean, to_picture
from markcut.point_sampler import FOREGROUND, Prompts

_EVERYWHERE = {
    "iou": 0.5,
    "object": 0.1,
    "stability": 0.2,
    "prompts": 0.1,
    "own_prompts": 0.3,
    "consensus": 0.7,
    "border": -0.8,
    "first": 0.05,
    "size": 0.1,
    "ragged": -0.025,
}
WEIGHTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "round": {**_EVERYWHERE, "inside": 0.8, "fill": 0.8, "on_ink": -0.5},
        "at": {**_EVERYWHERE, "on_ink": -0.2},
        "on": {**_EVERYWHERE, "on_ink": 0.4},
        "beside": {**_EVERYWHERE, "on_ink": -0.2, "size": 0.0},
    }
)
"""What every feature adds to a candidate's score, by how the mark says what it means."""

_INK_ONLY = 0.6  # IoU with the ink from which a mask is just the ink
_WITHIN = 0.5  # part of a mask from which it is said to be inside of a loop
_COMPARED = 128  # candidates are compared on a grid of about this side
_EMPTY = -1e9  # score of what is no answer


@dataclass(frozen=True)
class Selection:
    """The object of one mark: ``mask`` is a patch whose top left pixel is ``origin``.

    An empty mask is a (0, 0) patch. ``row`` is the chosen hypothesis' row in the prompts.
    """

    mask: NDArray[np.bool_]  # (bh, bw)
    origin: tuple[int, int]  # x0, y0
    score: float  # the decoder's predicted IoU, 0..1
    row: int
    reason: str


def select_masks(
    outputs: Mapping[str, NDArray[Any]],
    prompts: Prompts,
    marks: Sequence[Mark],
    *,
    height: int,
    width: int,
    fellows: Sequence[Mark] = (),
    threshold: float = 0.0,
) -> list[Selection]:
    """One object for every one of ``marks`` on a picture (height, width).

    ``outputs`` are those of ``contracts.SAM2_DECODER`` for all rows of ``prompts``; ``fellows``
    are further marks, with no prompts there, whose ink lies on objects all the same. Logits above
    ``threshold`` are the object's.
    """
    logits, predicted, objects = (outputs[tensor.name] for tensor in SAM2_DECODER.outputs)
    side = logits.shape[-1]
    any_ink = np.zeros((side, side), np.float32)
    for mark in (*marks, *fellows):
        np.maximum(any_ink, ink_grid(mark, side, height=height, width=width), out=any_ink)
    # to be compared masks need not be fine
    step = max(1, side // _COMPARED)
    coarse = logits[..., step // 2 :: step, step // 2 :: step] - np.float32(threshold)
    scale = np.array([side / width, side / height], np.float32)
    chosen = []
    for index, mark in enumerate(marks):
        rows = np.flatnonzero(prompts.owners == index)
        points, labels = prompts.coords[rows] * scale, prompts.labels[rows]
        grids = mark_grids(mark, coarse.shape[-1], height=height, width=width)
        table = feature_table(
            coarse[rows], predicted[rows], objects[rows, 0], points / step, labels, grids
        )
        row, mask = choose(table, grids.meaning)
        best = logits[rows[row], mask] - np.float32(threshold)
        whole = clean(best, points[row][labels[row] == FOREGROUND], any_ink)
        patch, origin = to_picture(whole, height=height, width=width)
        chosen.append(
            Selection(
                mask=patch,
                origin=origin,
                score=float(np.clip(table[row, mask, FEATURES.index("iou")], 0, 1)),
                row=int(rows[row]),
                reason=_reason(table[row, mask], grids, mark, len(rows), patch.size > 0),
            )
        )
    return chosen


def choose(table: NDArray[np.float32], meaning: str) -> tuple[int, int]:
    """Hypothesis and mask of the best candidate in ``table`` (H, M, features)."""
    scores = score(table, meaning)
    row, mask = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(row), int(mask)


def score(table: NDArray[np.float32], meaning: str) -> NDArray[np.float64]:
    """The score of every candidate in ``table`` (..., features), higher is better."""
    weights = np.array([WEIGHTS[meaning].get(name, 0.0) for name in FEATURES])
    scores: NDArray[np.float64] = table.astype(np.float64) @ weights
    scores[table[..., FEATURES.index("ink_iou")] > _INK_ONLY] -= 1.0
    scores[table[..., FEATURES.index("stability")] <= 0] = _EMPTY
    return scores


def _reason(
    features: NDArray[np.float32], grids: MarkGrids, mark: Mark, hypotheses: int, some: bool
) -> str:
    value = dict(zip(FEATURES, features.tolist(), strict=True))
    kind = "mark" if KINDS[mark.kind] == "other" else KINDS[mark.kind]
    within = not some or value["inside"] >= _WITHIN
    place = {
        "round": f"inside the {kind}" if within else f"in the {kind} and far beyond it",
        "at": f"beyond the {kind}'s tip",
        "on": f"under the {kind}",
        "beside": f"beside the {kind}",
    }[grids.meaning]
    if not some:
        return f"nothing found {place}"
    parts = [place]
    if hypotheses > 1:
        parts.append(f"agrees with {round(value['prompts'] * hypotheses)} of {hypotheses} prompts")
    if grids.meaning == "round":
        parts.append(f"{value['inside']:.0%} of it within the loop")
    if value["ink_iou"] > _INK_ONLY:
        parts.append("hardly more than the ink")
    parts.append(f"predicted IoU {value['iou']:.2f}")
    return ", ".join(parts)
