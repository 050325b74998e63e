"""Marks and prompts as plain arrays, for the way from one step of the ensemble to the next.

Nothing is lost on the way. Triton runs a network on at least one row, so a picture without marks
travels as one row of prompts that belongs to no mark, and one mark of no kind; both are gone
when the arrays are unpacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.marks import Mark
from markcut.point_sampler import PADDING, Prompts

Array = NDArray[Any]

NOBODY = -1
"""Owner of the prompts' row, and kind of the mark, that stand for no mark at all."""


def pack_marks(marks: Sequence[Mark]) -> list[Array]:
    """``marks`` as the tensors of ``contracts.MARKS``, in their order."""
    if not marks:
        return [
            np.array([NOBODY], np.int32),
            np.zeros(1, np.float32),
            np.zeros((1, 4), np.float32),
            np.zeros(1, np.uint8),
        ]
    return [
        np.array([mark.kind for mark in marks], np.int32),
        np.array([mark.score for mark in marks], np.float32),
        np.stack([mark.box for mark in marks]).astype(np.float32, copy=False),
        np.concatenate([mark.ink.ravel() for mark in marks]).view(np.uint8),
    ]


def unpack_marks(kinds: Array, scores: Array, boxes: Array, ink: Array) -> list[Mark]:
    """The marks that :func:`pack_marks` packed; ValueError where boxes and ink disagree."""
    marks = []
    start = 0
    for kind, score, box in zip(kinds.tolist(), scores.tolist(), boxes, strict=True):
        if kind == NOBODY:
            continue
        x0, y0, x1, y1 = (int(edge) for edge in box)
        rows, columns = y1 - y0, x1 - x0
        patch = ink[start : start + rows * columns]
        if min(rows, columns) < 1 or len(patch) != rows * columns:
            raise ValueError(f"{len(ink)} pixels of ink are not those of {boxes.tolist()}")
        start += rows * columns
        marks.append(
            Mark(
                kind=int(kind),
                score=float(score),
                box=np.array(box, np.float32),
                ink=patch.reshape(rows, columns).astype(np.bool_),
                origin=(x0, y0),
            )
        )
    return marks


def pack_prompts(prompts: Prompts) -> Prompts:
    """``prompts`` with at least one row."""
    if len(prompts.owners):
        return prompts
    return Prompts(
        coords=np.zeros((1, *prompts.coords.shape[1:]), np.float32),
        labels=np.full((1, *prompts.labels.shape[1:]), PADDING, np.int32),
        owners=np.array([NOBODY], np.int32),
    )


def unpack_prompts(coords: Array, labels: Array, owners: Array) -> Prompts:
    """The prompts that :func:`pack_prompts` made travel."""
    held = owners != NOBODY
    return Prompts(coords=coords[held], labels=labels[held], owners=owners[held])
