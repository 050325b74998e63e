"""Fresh marks on a view: what a mark looks like needs no object that it means.

Generating a scene costs a hundred times what a stroke does, and its marks stay the same in every
view. So views get marks of their own, drawn by hand or by a program's tools, anywhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from markcut.contracts import KINDS
from training.plates import Plate, PlateMark, mark_from_mask
from training.scenes.degrade import transport
from training.scenes.drawing import Drawing, Rng, log_uniform
from training.scenes.marks import ink_drawing
from training.scenes.pens import choose_pen
from training.scenes.scene import Mask, Picture
from training.scenes.shapes import SHAPES
from training.scenes.targets import Target
from training.scenes.tools import TOOLS

_COUNTS = (0.1, 0.3, 0.25, 0.15, 0.1, 0.1)  # how often a view gets 0, 1, ... of them
_KINDS = {
    "arrow": 1.6, "line": 1.4, "other": 1.4, "dot": 1.0, "cross": 1.0, "tick": 0.8, "circle": 0.8,
}  # fmt: skip
_BY_TOOL = 0.4
_EXTENT = (28.0, 450.0)  # of a mark, and its stroke's width, in pixels of the finished view
_WIDTH = (2.0, 24.0)
_STROKES = 5  # a mark is at least so many of its strokes' widths large
_SPOILED = 0.5  # share of the views that a messenger spoils afterwards


def with_fresh_marks(view: Plate, rng: Rng, *, scale: float, unmarked: bool = False) -> Plate:
    """``view`` with up to five more marks, perhaps spoiled; ``unmarked``: without more marks.

    ``scale`` is the finished view's over this one's.
    """
    count = 0 if unmarked else int(rng.choice(len(_COUNTS), p=_COUNTS))
    picture = view.picture.copy()
    taken = np.zeros(picture.shape[:2], np.bool_)
    for mark in view.marks:
        x0, y0, x1, y1 = mark.box
        taken[y0:y1, x0:x1] |= mark.ink
    names, weights = list(_KINDS), np.array(list(_KINDS.values()))
    added: list[PlateMark] = []
    for name in rng.choice(names, count, p=weights / weights.sum()).tolist():
        drawn = _draw(rng, picture, taken, name, scale)
        if drawn is not None:
            added.append(drawn)
    if rng.random() < _SPOILED:
        picture = transport(rng, screenshot=False).apply(picture)
    return replace(view, picture=picture, marks=(*view.marks, *added))


def _draw(rng: Rng, picture: Picture, taken: Mask, kind: str, scale: float) -> PlateMark | None:
    """A mark in place, and its ink in ``taken``; None where it found no room."""
    height, width = picture.shape[:2]
    extent = log_uniform(rng, _EXTENT[0], min(_EXTENT[1], 0.8 * scale * min(height, width)))
    stroke = min(log_uniform(rng, *_WIDTH), extent / _STROKES) / scale
    half = extent / scale / 2 * np.exp(rng.uniform(-0.6, 0.0, 2))
    room = np.array([width, height], np.float64)
    centre = rng.uniform(np.minimum(half, room / 2), np.maximum(room - half, room / 2))
    if rng.random() < _BY_TOOL:
        drawing = TOOLS[kind](rng, centre, half, stroke)
    else:
        drawing = SHAPES[kind](rng, _imagined(rng, centre, half, room), stroke)
    path = np.concatenate(drawing.strokes)
    if ((path < 0) | (path >= room)).any(1).mean() > 0.03 or _crosses(drawing, taken):
        return None
    ink = ink_drawing(rng, picture, drawing, choose_pen(rng, width=stroke))
    if ink is None:
        return None
    taken |= ink
    return mark_from_mask(KINDS.index(drawing.kind), ink, width=stroke, tip=drawing.tip)


def _crosses(drawing: Drawing, taken: Mask) -> bool:
    limits = np.array(taken.shape[::-1]) - 1
    columns, rows = np.clip(np.concatenate(drawing.strokes).astype(int), 0, limits).T
    return bool(taken[rows, columns].mean() > 0.05)


def _imagined(rng: Rng, centre: np.ndarray, half: np.ndarray, room: np.ndarray) -> Target:
    """An object that is not there, for hands that draw on objects."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * half
    (x0, y0), (x1, y1) = centre - half, centre + half
    return Target(
        instance=1,
        box=(float(x0), float(y0), float(x1), float(y1)),
        area=float(np.pi * half.prod()),
        centre=(float(centre[0]), float(centre[1])),
        hull=(centre + ring).astype(np.float32),
        inner=(centre + ring * rng.uniform(0.0, 0.6, (16, 1))).astype(np.float32),
        axis=float(rng.uniform(-np.pi, np.pi)),
        room=(0.0, 0.0, float(room[0]), float(room[1])),
    )
