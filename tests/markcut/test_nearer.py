from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markcut.contracts import MASKS_PER_PROMPT, SAM2_DECODER
from markcut.geometry import Window
from markcut.mask_selection import Selection
from markcut.nearer import NEARER_LOOK, marks_in, nearer_window, select_in, whole
from markcut.point_sampler import Prompts, sample_prompts
from tests.markcut.drawn import ellipse, loop, mark, scene, strokes

SHAPE = (400, 300)
THING = ellipse(SHAPE, (100, 300), (20, 14))
AROUND = strokes(SHAPE, [loop((100, 300), (28, 20))], 3)
FAR = strokes(SHAPE, [loop((250, 60), (28, 20))], 3)


def found(x0: int, y0: int, x1: int, y1: int) -> Selection:
    return Selection(np.ones((y1 - y0, x1 - x0), np.bool_), (x0, y0), 0.9, 0, "")


NOTHING = Selection(np.zeros((0, 0), np.bool_), (0, 0), 0.1, 0, "")


def window(
    marks: list, selections: list[Selection], most: float = 0.67, points: list | None = None
) -> Window | None:  # fmt: skip
    coords = np.array(points or [[100.0, 300.0]], np.float32)[:, None]
    count = len(coords)
    prompts = Prompts(coords, np.ones((count, 1), np.int32), np.zeros(count, np.int32))
    return nearer_window(
        marks, prompts, selections, height=SHAPE[0], width=SHAPE[1], defaults={NEARER_LOOK: most}
    )  # fmt: skip


def test_a_small_object_is_looked_at_in_a_square_around_it_and_its_mark() -> None:
    circle = mark("circle", AROUND)
    x0, y0, x1, y1 = window([circle], [found(80, 285, 120, 315)])
    assert x1 - x0 == pytest.approx(y1 - y0, abs=1)
    assert x1 - x0 == pytest.approx(2.5 * circle.ink.shape[1], abs=2)
    # what the first look found beyond the mark widens it
    wide = window([circle], [found(60, 230, 140, 330)])
    assert wide[3] - wide[1] == pytest.approx(250, abs=2)
    # nothing found: the mark alone
    assert window([circle], [NOTHING]) == (x0, y0, x1, y1)
    # a prompt far away stays inside
    assert window([circle], [NOTHING], points=[[290.0, 300.0]])[2] >= 290


def test_large_ones_far_ones_and_other_bundles_have_one_look() -> None:
    circle, other = mark("circle", AROUND), mark("circle", FAR)
    assert window([circle], []) is not None
    assert window([circle], [], most=0.0) is None
    assert window([], []) is None
    assert window([circle], [found(10, 100, 290, 390)]) is None
    assert window([circle, other], []) is None
    assert window([circle], [found(80, 285, 120, 315)], most=0.05) is None


def test_marks_move_with_the_window_and_keep_their_ink() -> None:
    circle = mark("circle", AROUND)
    (moved,) = marks_in((40, 250, 160, 380), [circle])
    assert moved.origin == (circle.origin[0] - 40, circle.origin[1] - 250)
    assert np.array_equal(moved.box, circle.box - [40, 250, 40, 250])
    assert moved.ink is circle.ink
    assert marks_in(whole(*SHAPE), [circle]) == [circle]


def test_a_mask_of_the_window_lies_where_the_object_is() -> None:
    circle = mark("circle", AROUND)
    seen = (40, 240, 160, 360)
    prompts = sample_prompts(scene(THING, AROUND), [circle])
    rows, side = len(prompts.owners), 60
    part = THING[240:360, 40:160][1::2, 1::2]
    logits = np.repeat(np.where(part, 6.0, -6.0)[None, None], MASKS_PER_PROMPT, axis=1)
    values = (
        np.repeat(logits, rows, axis=0).astype(np.float32).reshape(rows, -1, side, side),
        np.full((rows, MASKS_PER_PROMPT), 0.9, np.float32),
        np.full((rows, 1), 5.0, np.float32),
    )
    outputs = dict(zip((tensor.name for tensor in SAM2_DECODER.outputs), values, strict=True))
    (selection,) = select_in(seen, outputs, prompts, [circle])
    answered = np.zeros(SHAPE, np.bool_)
    x, y = selection.origin
    answered[y : y + selection.mask.shape[0], x : x + selection.mask.shape[1]] = selection.mask
    assert (answered & THING).sum() / (answered | THING).sum() > 0.9


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 3000), width=st.integers(1, 3000),
    corner=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    extent=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
    most=st.floats(0.001, 1),
)  # fmt: skip
def test_the_window_is_in_the_picture_and_holds_mark_object_and_prompts(
    height: int, width: int, corner: tuple[float, float], extent: tuple[float, float], most: float
) -> None:
    x, y = int(corner[0] * width), int(corner[1] * height)
    w, h = max(1, int(extent[0] * (width - x))), max(1, int(extent[1] * (height - y)))
    ink = np.zeros((height, width), np.bool_)
    ink[y : y + min(h, 3), x : x + min(w, 3)] = True
    tick = mark("tick", ink)
    point = np.array([[[x + 0.5, y + 0.5]]], np.float32)
    prompts = Prompts(point, np.ones((1, 1), np.int32), np.zeros(1, np.int32))
    seen = nearer_window(
        [tick],
        prompts,
        [found(x, y, x + w, y + h)],
        height=height,
        width=width,
        defaults={NEARER_LOOK: most},
    )
    if seen is not None:
        x0, y0, x1, y1 = seen
        assert 0 <= x0 <= x < x + w <= x1 <= width
        assert 0 <= y0 <= y < y + h <= y1 <= height
