"""Nearer looks for SAM2: parts of a picture that hold what is marked, once more and larger.

A garment in a screenshot may be a hundredth of it, and then fills few cells of SAM2's features.
The first look, at the whole picture, tells how large the objects are; further ones, at windows
around them and their marks, segment them, with the same prompts. Marks share a window where
that costs their objects little of its detail.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
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

LOOKS = 3
"""Nearer looks at one picture: each costs SAM2's encoder and decoder once."""

_AROUND = 2.5  # sides of the square around an object and its mark: SAM2 needs to see what is not it
_LEAST = 64  # px, a window's least side: there is nothing more to see in fewer
_SHARED = 2.0  # times the smaller window's area that a window for two may take
_MANY = 1024  # px, a side from which a window is shrunk by halves, which go into even sides alone
_GRAIN = 8

Box = NDArray[np.float64]  # (4,) xyxy


@dataclass(frozen=True)
class Look:
    """A window of the picture, and the marks (their indices) whose objects are looked at in it."""

    window: Window
    marks: tuple[int, ...]


def whole(height: int, width: int) -> Window:
    """The window that is the picture (height, width)."""
    return (0, 0, width, height)


def leave_room(
    marks: Sequence[Mark], *, height: int, width: int, defaults: Mapping[str, float]
) -> bool:
    """Whether any of ``marks`` may get a nearer look, as far as its ink tells; see `nearer_looks`.

    What it means may prove too large.
    """
    most = defaults.get(NEARER_LOOK, NEVER)
    boxes = (_extent(mark.origin, mark.ink.shape) for mark in marks)
    return most > NEVER and any(
        _area(_around(box, height, width)) <= most * height * width for box in boxes
    )


def nearer_looks(
    marks: Sequence[Mark],
    prompts: Prompts,
    selections: Sequence[Selection],
    *,
    height: int,
    width: int,
    defaults: Mapping[str, float],
) -> list[Look]:
    """Where to look again, at most `LOOKS` times: around marks, ``prompts`` and first answers.

    ``selections`` are the first look's, one per mark. Windows whose common one takes at most twice
    the area of the smaller are joined, and beyond `LOOKS` those that lose least; of more that have
    none to join, the smallest are taken. No window takes more of the picture (height, width) than
    the share (0..1) in the bundle's ``defaults``. A mark is in one window or, where its own would
    be larger or was left, in none: the first look was its only one.
    """
    most = defaults.get(NEARER_LOOK, NEVER) * height * width
    if most <= 0:
        return []
    looks: list[tuple[Box, tuple[int, ...]]] = []
    for index, (mark, found) in enumerate(zip(marks, selections, strict=True)):
        box = _extent(mark.origin, mark.ink.shape)
        if found.mask.size:
            box = _joined([box, _extent(found.origin, found.mask.shape)])
        points = prompts.coords[prompts.owners == index]
        points = points[prompts.labels[prompts.owners == index] == FOREGROUND]
        window = _joined([_around(box, height, width)], points)
        if _area(window) <= most:
            looks.append((window, (index,)))
    while len(looks) > 1:
        joint = [
            (_area(_joined([a[0], b[0]])) / min(_area(a[0]), _area(b[0])), i, j)
            for (i, a), (j, b) in combinations(enumerate(looks), 2)
            if _area(_joined([a[0], b[0]])) <= most
        ]
        if not joint:
            break
        loss, one, other = min(joint)
        if loss > _SHARED and len(looks) <= LOOKS:
            break
        (box, first), (further, second) = looks[one], looks.pop(other)
        looks[one] = (_joined([box, further]), (*first, *second))
    looks.sort(key=lambda look: _area(look[0]))
    return [
        Look(_pixels(window, height, width), tuple(sorted(members)))
        for window, members in looks[:LOOKS]
    ]


def marks_in(window: Window, marks: Sequence[Mark]) -> list[Mark]:
    """What of ``marks`` lies in ``window``, in its pixels; those without ink there are left out."""
    seen = []
    for mark in marks:
        box = _extent(mark.origin, mark.ink.shape).astype(int)
        x0, y0 = np.maximum(box[:2], window[:2]).tolist()
        x1, y1 = np.minimum(box[2:], window[2:]).tolist()
        if x0 >= x1 or y0 >= y1:
            continue
        ink = mark.ink[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
        x0, x1 = x0 - window[0], x1 - window[0]
        y0, y1 = y0 - window[1], y1 - window[1]
        part = dataclasses.replace(
            mark, ink=ink, origin=(x0, y0), box=np.array([x0, y0, x1, y1], np.float32)
        )
        seen.append(part)
    return seen


def prompts_of(prompts: Prompts, members: Sequence[int]) -> tuple[Prompts, NDArray[np.intp]]:
    """The prompts of the marks ``members`` alone, and which rows of ``prompts`` they are.

    Their owners are indices into ``members``.
    """
    rows = np.flatnonzero(np.isin(prompts.owners, members))
    owners = np.searchsorted(members, prompts.owners[rows]).astype(np.int32)
    return Prompts(prompts.coords[rows], prompts.labels[rows], owners), rows


def select_in(
    window: Window,
    outputs: Mapping[str, NDArray[Any]],
    prompts: Prompts,
    marks: Sequence[Mark],
    fellows: Sequence[Mark] = (),
    *,
    threshold: float = 0.0,
) -> list[Selection]:
    """The object of every one of ``marks``, as a look at ``window`` shows it.

    ``outputs`` are the decoder's for that look and ``prompts``; ``fellows`` are the other marks,
    ``threshold`` is the logit above which a pixel is the object's. Prompts, marks, all of whose
    ink lies in the window, and what is returned are in the picture's pixels.
    """
    x0, y0, x1, y1 = window
    shifted = dataclasses.replace(prompts, coords=prompts.coords - np.array([x0, y0], np.float32))
    found = select_masks(
        outputs, shifted, marks_in(window, marks), height=y1 - y0, width=x1 - x0,
        fellows=marks_in(window, fellows), threshold=threshold,
    )  # fmt: skip
    return [
        dataclasses.replace(one, origin=(one.origin[0] + x0, one.origin[1] + y0))
        if one.mask.size
        else one
        for one in found
    ]


def _extent(origin: tuple[int, int], shape: tuple[int, ...]) -> Box:
    x, y = origin
    return np.array([x, y, x + shape[1], y + shape[0]], np.float64)


def _joined(boxes: Sequence[Box], points: NDArray[np.float32] | None = None) -> Box:
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


def _area(window: Box) -> float:
    return float(np.prod(window[2:] - window[:2]))


def _pixels(window: Box, height: int, width: int) -> Window:
    x0, y0, x1, y1 = window.tolist()
    (left, right), (top, bottom) = _whole(x0, x1, width), _whole(y0, y1, height)
    return (left, top, right, bottom)


def _whole(start: float, end: float, size: int) -> tuple[int, int]:
    """The pixels from ``start`` to ``end``, of ``size``: a few more where that many are slow."""
    first, last = int(start), min(size, int(np.ceil(end)))
    length = -(-(last - first) // _GRAIN) * _GRAIN
    if last - first < _MANY or length > size:
        return first, last
    first = min(first, size - length)
    return first, first + length
