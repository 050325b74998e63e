"""Fresh marks of a view: their truth is what is seen, and the view they came from stays."""

from __future__ import annotations

import numpy as np
import pytest

from markcut.contracts import KINDS
from training.plates import Plate, mark_from_mask
from training.scenes.strokes import Stroke, bounds, coverage
from training.scenes.tools import TOOLS
from training.yolo.fresh import with_fresh_marks

SIDE = 480


def plate() -> Plate:
    ink = np.zeros((SIDE, SIDE), np.bool_)
    ink[200:260, 100:220] = True
    mark = mark_from_mask(KINDS.index("line"), ink, width=8.0)
    assert mark is not None
    return Plate(np.full((SIDE, SIDE, 3), 150, np.uint8), (mark,), whole=False)


def test_ink_is_where_the_picture_changed_and_other_marks_are_left_alone() -> None:
    before = plate()
    seen = set()
    for seed in range(40):
        view = with_fresh_marks(before, np.random.default_rng(seed), scale=1.0)
        assert view.marks[0] is before.marks[0]
        changed = np.abs(view.picture.astype(int) - 150).max(axis=2) > 25
        for mark in view.marks[1:]:
            x0, y0, x1, y1 = mark.box
            assert mark.ink.shape == (y1 - y0, x1 - x0)
            assert mark.ink.any(0).all() or mark.ink.any(1).all() or mark.ink.sum() > 4
            assert changed[y0:y1, x0:x1][mark.ink].mean() > 0.6
            seen.add(KINDS[mark.kind])
    assert seen == set(KINDS)
    assert (before.picture == 150).all()


def test_the_same_random_numbers_give_the_same_view() -> None:
    first, second = (
        with_fresh_marks(plate(), np.random.default_rng(5), scale=0.7) for _ in range(2)
    )
    assert (first.picture == second.picture).all()
    assert [m.box for m in first.marks] == [m.box for m in second.marks]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_draws_every_kind_in_its_place(kind: str) -> None:
    centre, half = np.array([240.0, 200.0]), np.array([90.0, 50.0])
    for seed in range(20):
        drawing = TOOLS[kind](np.random.default_rng(seed), centre, half, 6.0)
        assert drawing.kind == kind
        filled = drawing.filled or (False,) * len(drawing.strokes)
        strokes = [
            Stroke(path, np.full(len(path), 6.0, np.float32), fill)
            for path, fill in zip(drawing.strokes, filled, strict=True)
        ]
        box = bounds(strokes, (SIDE, SIDE), 0.0)
        assert box is not None
        assert coverage(strokes, box).any()
        points = np.concatenate(drawing.strokes)
        assert (np.abs(points - centre) <= 2.2 * np.hypot(*half)).all()
        assert (drawing.tip is not None) == (kind == "arrow")
