"""A nearer look for SAM2: the part of a picture that holds what is marked, once more and larger.

A garment in a screenshot may be a hundredth of it, and then fills few cells of SAM2's features.
The first look, at the whole picture, tells how large the objects are; the second, at a window
around them and their marks, segments them, with the same prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.geometry import Window
from markcut.marks import Mark
from markcut.mask_selection import Selection, select_masks
from markcut.point_sampler import FOREGROUND, Prompts

NEARER_LOOK = "nearer_look"
"""The bundle's default that says up to which share of the picture a window is worth a look."""

NEVER = 0.0
"""Its value where the bundle has none: SAM2 looks once."""

_AROUND = 2.5  # sides of the square around an object and its mark: SAM2 needs to see what is not it
_LEAST = 64  # px, a window's least side: there is nothing more to see in fewer

Box = NDArray[np.float64]  # (4,) xyxy


def whole(height: int, width: int) -> Window:
    """The window that is the picture (height, width)."""
    return (0, 0, width, height)


def nearer_window(
    marks: Sequence[Mark],
    prompts: Prompts,
    selections: Sequence[Selection],
    *,
    height: int,
    width: int,
    defaults: Mapping[str, float],
) -> Window | None:
    """The window around ``marks``, all ``prompts`` and the objects of the first look.

    None where it takes more of the picture (height, width) than the share (0..1) in the bundle's
    ``defaults``, with the marks and their prompts alone or with the objects. Before the first
    look ``selections`` is empty, and None says that it will be the only one.
    """
    most = defaults.get(NEARER_LOOK, NEVER)
    if most <= NEVER or not marks:
        return None
    inked = [_extent(mark.origin, mark.ink.shape) for mark in marks]
    points = prompts.coords[prompts.labels == FOREGROUND].astype(np.float64)
    alone = _joined([_around(box, height, width) for box in inked], points)
    if _share(alone, height, width) > most:
        return None
    meant = [
        _joined([box, _extent(found.origin, found.mask.shape)]) if found.mask.size else box
        for box, found in zip(inked, selections, strict=bool(selections))
    ]
    window = _joined([_around(box, height, width) for box in meant], points) if meant else alone
    if _share(window, height, width) > most:
        return None
    x0, y0, x1, y1 = window.tolist()
    return (int(x0), int(y0), min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1))))


def marks_in(window: Window, marks: Sequence[Mark]) -> list[Mark]:
    """``marks``, which lie in ``window``, in its pixels."""
    x, y = window[:2]
    if not (x or y):
        return list(marks)
    return [
        dataclasses.replace(
            mark,
            origin=(mark.origin[0] - x, mark.origin[1] - y),
            box=mark.box - np.array([x, y, x, y], np.float32),
        )
        for mark in marks
    ]


def prompts_in(window: Window, prompts: Prompts) -> Prompts:
    """``prompts``, which lie in ``window``, in its pixels."""
    return dataclasses.replace(prompts, coords=prompts.coords - np.array(window[:2], np.float32))


def select_in(
    window: Window,
    outputs: Mapping[str, NDArray[Any]],
    prompts: Prompts,
    marks: Sequence[Mark],
) -> list[Selection]:
    """The object of every mark, as a look at ``window`` shows it.

    ``outputs`` are the decoder's for that look; ``prompts``, ``marks`` and what is returned are in
    the picture's pixels.
    """
    x0, y0, x1, y1 = window
    found = select_masks(
        outputs, prompts_in(window, prompts), marks_in(window, marks), height=y1 - y0, width=x1 - x0
    )
    return [
        dataclasses.replace(one, origin=(one.origin[0] + x0, one.origin[1] + y0))
        if one.mask.size
        else one
        for one in found
    ]


def _extent(origin: tuple[int, int], shape: tuple[int, ...]) -> Box:
    x, y = origin
    return np.array([x, y, x + shape[1], y + shape[0]], np.float64)


def _joined(boxes: Sequence[Box], points: NDArray[np.float64] | None = None) -> Box:
    corners = np.concatenate(
        [np.stack(boxes).reshape(-1, 2), *([] if points is None else [points])]
    )
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _around(box: Box, height: int, width: int) -> Box:
    """The square around ``box``, moved and cut so that it lies in the picture."""
    side = max(_LEAST, _AROUND * float((box[2:] - box[:2]).max()))
    size = np.minimum(side, [width, height])
    start = np.clip((box[:2] + box[2:] - size) / 2, 0, [width, height] - size)
    return np.concatenate([start, start + size])


def _share(window: Box, height: int, width: int) -> float:
    return float(np.prod(window[2:] - window[:2])) / (height * width)
