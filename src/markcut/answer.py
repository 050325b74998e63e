"""The answer to a request: marks and their objects as the arrays of the wire contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut import rle
from markcut.marks import Mark
from markcut.mask_selection import Selection
from markcut.point_sampler import FOREGROUND, PADDING, Prompts


def build_answer(
    marks: Sequence[Mark],
    prompts: Prompts,
    selections: Sequence[Selection],
    *,
    height: int,
    width: int,
) -> list[NDArray[Any]]:
    """The outputs of ``contracts.MARKED_OBJECT`` in their order, without the last, ``stage_ms``.

    ``selections`` holds one per mark; with no marks every array has no rows.
    """
    rows = np.array([found.row for found in selections], np.intp)
    return [
        np.array([mark.kind for mark in marks], np.int32),
        np.array([mark.score for mark in marks], np.float32),
        np.array([mark.box for mark in marks], np.float32).reshape(-1, 4),
        _blobs(rle.encode(mark.ink, mark.origin, height=height, width=width) for mark in marks),
        *_points_only(prompts.coords[rows], prompts.labels[rows]),
        _blobs(
            rle.encode(found.mask, found.origin, height=height, width=width) for found in selections
        ),
        np.array([found.score for found in selections], np.float32),
        _blobs(found.reason.encode() for found in selections),
        np.array([height, width], np.int32),
    ]


def _points_only(
    coords: NDArray[np.float32], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prompts (N, P, 2) and (N, P) with the points first and boxes left out."""
    other = (labels != FOREGROUND).astype(np.int8)
    order = np.argsort(other, axis=1, kind="stable")
    labels = np.take_along_axis(np.where(other, PADDING, labels), order, axis=1)
    coords = np.take_along_axis(np.where(other[..., None], 0, coords), order[..., None], axis=1)
    return coords.astype(np.float32), labels.astype(np.int32)


def _blobs(values: Iterable[bytes]) -> NDArray[np.object_]:
    """A 1-d array of bytes objects; numpy left alone would strip zeros and fix the length."""
    held = list(values)
    out = np.empty(len(held), np.object_)
    out[:] = held
    return out
