from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markcut.contracts import MASKS_PER_PROMPT, SAM2_DECODER
from markcut.geometry import Window
from markcut.marks import Mark
from markcut.mask_selection import Selection
from markcut.nearer import (
    LOOKS,
    NEARER_LOOK,
    Look,
    leave_room,
    marks_in,
    nearer_looks,
    prompts_of,
    select_in,
)
from markcut.point_sampler import Prompts, sample_prompts
from tests.markcut.drawn import ellipse, loop, mark, scene, strokes

SHAPE = (400, 300)
SIZE = {"height": SHAPE[0], "width": SHAPE[1]}
THING = ellipse(SHAPE, (100, 300), (20, 14))
AROUND = strokes(SHAPE, [loop((100, 300), (28, 20))], 3)
FAR = strokes(SHAPE, [loop((250, 60), (28, 20))], 3)


def found(x0: int, y0: int, x1: int, y1: int) -> Selection:
    return Selection(np.ones((y1 - y0, x1 - x0), np.bool_), (x0, y0), 0.9, 0, "")


NOTHING = Selection(np.zeros((0, 0), np.bool_), (0, 0), 0.1, 0, "")


def looks(
    marks: list[Mark], selections: list[Selection], most: float = 0.67, points: list | None = None
) -> list[Look]:
    """Those for marks with one prompt each, by default in their ink's middle."""
    middles = [(one.box[:2] + one.box[2:]) / 2 for one in marks]
    coords = np.array(points or middles, np.float32).reshape(-1, 1, 2)
    labels, owners = np.ones((len(coords), 1), np.int32), np.arange(len(coords), dtype=np.int32)
    return nearer_looks(
        marks, Prompts(coords, labels, owners), selections, **SIZE, defaults={NEARER_LOOK: most}
    )


def window(*args: Any, **options: Any) -> Window:
    (look,) = looks(*args, **options)
    assert look.marks == (0,)
    return look.window


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


def test_large_ones_and_other_bundles_have_one_look() -> None:
    circle = mark("circle", AROUND)
    assert leave_room([circle], **SIZE, defaults={NEARER_LOOK: 0.67})
    assert not leave_room([circle], **SIZE, defaults={NEARER_LOOK: 0.0})
    assert not leave_room([circle], **SIZE, defaults={})
    assert not leave_room([circle], **SIZE, defaults={NEARER_LOOK: 0.05})
    assert not leave_room([], **SIZE, defaults={NEARER_LOOK: 0.67})
    small = [found(80, 285, 120, 315)]
    assert not looks([circle], small, most=0.0)
    assert not looks([circle], small, most=0.05)
    assert not looks([circle], [found(10, 100, 290, 390)])
    assert not looks([], [])


def test_marks_share_a_window_where_it_is_hardly_larger() -> None:
    near = strokes(SHAPE, [loop((120, 310), (28, 20))], 3)
    circles = [mark("circle", ink) for ink in (AROUND, FAR, near)]
    shared, alone = sorted(looks(circles, [NOTHING] * 3), key=lambda look: look.marks)
    assert shared.marks == (0, 2)
    assert alone.marks == (1,)
    # one that has no room of its own keeps none of the others from theirs
    large = [found(10, 100, 290, 390), NOTHING, NOTHING]
    assert [look.marks for look in looks(circles, large)] == [(1,), (2,)]


def test_many_marks_far_from_each_other_have_few_windows() -> None:
    shape = (4000, 4000)
    places = [(x, y) for x in (300, 1700, 3100) for y in (300, 500, 3100)]
    dots = [mark("dot", ellipse(shape, place, (9, 9))) for place in places]
    prompts = Prompts(
        np.array(places, np.float32)[:, None],
        np.ones((9, 1), np.int32),
        np.arange(9, dtype=np.int32),
    )
    seen = nearer_looks(
        dots, prompts, [NOTHING] * 9, height=4000, width=4000, defaults={NEARER_LOOK: 0.8}
    )
    assert len(seen) == LOOKS
    assert sorted(index for look in seen for index in look.marks) == list(range(9))


def test_no_window_is_joined_beyond_what_the_bundle_allows() -> None:
    near = strokes(SHAPE, [loop((120, 310), (28, 20))], 3)
    circles = [mark("circle", ink) for ink in (AROUND, near)]
    (shared,) = looks(circles, [NOTHING] * 2)
    (x0, y0, x1, y1) = shared.window
    most = (x1 - x0) * (y1 - y0) / (SHAPE[0] * SHAPE[1]) - 0.01
    assert [look.marks for look in looks(circles, [NOTHING] * 2, most=most)] == [(0,), (1,)]


def test_of_more_windows_than_are_looked_at_and_none_to_join_the_smallest_are_taken() -> None:
    places = [(40, 40), (260, 40), (40, 360), (260, 360)]
    sizes = [(16, 16), (20, 20), (18, 18), (14, 14)]
    inks = [strokes(SHAPE, [loop(*one)], 3) for one in zip(places, sizes, strict=True)]
    circles = [mark("circle", ink) for ink in inks]
    seen = looks(circles, [NOTHING] * 4, most=0.12)
    assert sorted(look.marks for look in seen) == [(0,), (2,), (3,)]


def test_sides_of_a_large_window_can_be_halved() -> None:
    shape = (3001, 3999)
    ink = np.zeros(shape, np.bool_)
    ink[2500:3001, 3400:3999] = True
    circle = mark("circle", ink)
    prompts = Prompts(
        np.array([[[3990.0, 2990.0]]], np.float32), np.ones((1, 1), np.int32), np.zeros(1, np.int32)
    )
    (look,) = nearer_looks(
        [circle], prompts, [NOTHING], height=3001, width=3999, defaults={NEARER_LOOK: 0.8}
    )
    x0, y0, x1, y1 = look.window
    assert (x1, y1) == (3999, 3001)
    assert (x1 - x0) % 8 == (y1 - y0) % 8 == 0
    assert x1 - x0 >= 2.5 * 599


def test_marks_are_seen_in_a_window_as_far_as_they_are_in_it() -> None:
    circle = mark("circle", AROUND)
    (moved,) = marks_in((40, 250, 160, 380), [circle])
    assert moved.origin == (circle.origin[0] - 40, circle.origin[1] - 250)
    assert np.array_equal(moved.box, circle.box - [40, 250, 40, 250])
    assert np.array_equal(moved.ink, circle.ink)
    (part,) = marks_in((100, 300, 300, 400), [circle])
    assert part.origin == (0, 0)
    assert np.array_equal(
        part.ink, AROUND[300:400, 100:300][: part.ink.shape[0], : part.ink.shape[1]]
    )
    assert part.ink.sum() == AROUND[300:, 100:].sum()
    assert part.box.tolist() == [0, 0, *part.ink.shape[::-1]]
    assert marks_in((0, 0, 50, 50), [circle]) == []


def test_prompts_of_some_marks_know_their_rows() -> None:
    owners = np.array([0, 0, 1, 2, 2], np.int32)
    coords = np.arange(10, dtype=np.float32).reshape(5, 1, 2)
    some, rows = prompts_of(Prompts(coords, np.ones((5, 1), np.int32), owners), (0, 2))
    assert rows.tolist() == [0, 1, 3, 4]
    assert some.owners.tolist() == [0, 0, 1, 1]
    assert np.array_equal(some.coords, coords[rows])


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
    size = {"height": height, "width": width, "defaults": {NEARER_LOOK: most}}
    seen = nearer_looks([tick], prompts, [found(x, y, x + w, y + h)], **size)
    assert not seen or leave_room([tick], **size)
    for look in seen:
        x0, y0, x1, y1 = look.window
        assert 0 <= x0 <= x < x + w <= x1 <= width
        assert 0 <= y0 <= y < y + h <= y1 <= height
