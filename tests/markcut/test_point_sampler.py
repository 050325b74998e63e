from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from markcut.contracts import KINDS
from markcut.marks import Mark
from markcut.point_sampler import FOREGROUND, PADDING, Prompts, sample_prompts
from tests.markcut.drawn import Mask, ellipse, loop, mark, scene, strokes

SHAPE = (300, 400)


def foreground(prompts: Prompts, row: int) -> NDArray[np.int64]:
    """Pixels (n, 2) xy of the foreground points of one hypothesis."""
    points = prompts.coords[row][prompts.labels[row] == FOREGROUND]
    return np.asarray(np.floor(points), np.int64)


def first_hits(kind: str, ink: Mask, thing: Mask) -> bool:
    """Whether the first hypothesis lies on the thing and off the ink."""
    prompts = sample_prompts(scene(thing, ink), [mark(kind, ink)])
    points = foreground(prompts, 0)
    good = thing & ~ink
    return len(points) > 0 and bool(good[points[:, 1], points[:, 0]].all())


def worn(ink: Mask, seed: int) -> Mask:
    """Ink as a detector might give it: grown, ragged, with holes."""
    rng = np.random.default_rng(seed)
    grown = cv2.dilate(ink.astype(np.uint8), np.ones((3, 3), np.uint8))
    ys, xs = np.nonzero(grown)
    for at in rng.choice(len(xs), 4, replace=False):
        cv2.circle(grown, (int(xs[at]), int(ys[at])), 3, 0, -1)
    return grown.astype(np.bool_)


LOOPS = {
    "closed": loop((200, 150), (90, 70)),
    "gap": loop((200, 150), (90, 70), start=-1.2, turns=0.87),
    "overshoot": loop((200, 150), (90, 70), start=2.0, turns=1.2, drift=0.12),
    "double": loop((200, 150), (85, 65), turns=2.1, drift=0.08),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("kind", ["circle", "other"])
def test_a_loop_means_what_is_inside(name: str, kind: str) -> None:
    ink = strokes(SHAPE, [LOOPS[name]])
    assert first_hits(kind, ink, ellipse(SHAPE, (195, 155), (60, 45)))
    assert first_hits(kind, worn(ink, 1), ellipse(SHAPE, (195, 155), (60, 45)))


def test_a_loop_around_a_ring_means_the_ring_and_not_its_hole() -> None:
    ring = ellipse(SHAPE, (200, 150), (70, 55)) & ~ellipse(SHAPE, (200, 150), (38, 26))
    assert first_hits("circle", strokes(SHAPE, [loop((200, 150), (90, 72))]), ring)


def test_a_loop_also_asks_with_a_box() -> None:
    ink = strokes(SHAPE, [LOOPS["closed"]])
    thing = ellipse(SHAPE, (200, 150), (60, 45))
    prompts = sample_prompts(scene(thing, ink), [mark("circle", ink)])
    row = int(np.flatnonzero((prompts.labels == 2).any(axis=1))[0])
    assert prompts.labels[row].tolist() == [2, 3, 1]
    (x0, y0), (x1, y1) = prompts.coords[row, :2]
    assert (x0, y0, x1, y1) == pytest.approx((112, 82, 288, 218), abs=6)


def test_an_open_loop_of_kind_other_means_what_is_inside() -> None:
    ink = strokes(SHAPE, [loop((200, 150), (90, 70), start=0.9, turns=0.7)])
    assert first_hits("other", ink, ellipse(SHAPE, (200, 150), (55, 45)))


def arrow(angle: float, head: str, *, bend: float = 0.0) -> tuple[Mask, tuple[float, float]]:
    """An arrow of 100 px to the middle of the picture, and the unit vector it points in."""
    to = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-to[1], to[0]])
    tip = np.array([200.0, 150.0])
    t = np.linspace(0, 1, 20)[:, None]
    shaft = tip - to * 100 * (1 - t) + side * bend * 4 * t * (1 - t) * 100
    last = shaft[-1] - shaft[-4]
    last = last / np.hypot(*last)
    across = np.array([-last[1], last[0]])
    barbs = [tip - last * 22 + across * 14, tip - last * 22 - across * 14]
    lines: list[Any] = [shaft]
    if head == "vee":
        lines += [[barbs[0], tip, barbs[1]]]
    elif head == "half":
        lines += [[barbs[0], tip]]
    elif head == "loose":
        lines += [[barbs[0], tip + across * 3], [tip - across * 3 - last * 3, barbs[1]]]
    ink = strokes(SHAPE, lines)
    if head == "filled":
        triangle: list[Any] = [tip, barbs[0], barbs[1], tip]
        ink |= strokes(SHAPE, [triangle], 2, filled=True)
    return ink, (float(last[0]), float(last[1]))


@pytest.mark.parametrize("head", ["vee", "filled", "half", "loose"])
@pytest.mark.parametrize("bend", [0.0, 0.15, -0.15])
@pytest.mark.parametrize("degrees", range(0, 360, 72))
def test_an_arrow_means_what_is_beyond_its_tip(head: str, bend: float, degrees: int) -> None:
    ink, (dx, dy) = arrow(np.deg2rad(degrees), head, bend=bend)
    thing = ellipse(SHAPE, (round(200 + 22 * dx), round(150 + 22 * dy)), (20, 20))
    assert first_hits("arrow", ink, thing)
    assert first_hits("arrow", worn(ink, degrees), thing)


def test_an_arrow_asks_farther_and_farther_beyond_its_tip() -> None:
    ink, _ = arrow(0.0, "vee")
    thing = ellipse(SHAPE, (240, 150), (30, 30))
    prompts = sample_prompts(scene(thing, ink), [mark("arrow", ink)], points_per_mark=1)
    x = prompts.coords[:, 0, 0]
    assert len(x) >= 4
    assert x.min() > 200
    assert x.max() - x.min() > 0.03 * np.hypot(*SHAPE)
    assert np.abs(prompts.coords[:, 0, 1] - 150).max() < 5


ON = {
    "tick": [[(180, 150), (195, 170), (230, 120)]],
    "cross": [[(180, 130), (220, 170)], [(220, 130), (180, 170)]],
    "line": [[(170, 150), (230, 145)]],
    "dot": [[(200, 150), (201, 150)]],
    "other": [[(165, 160), (180, 130), (190, 165), (203, 128), (216, 163), (230, 135)]],
}


@pytest.mark.parametrize("kind", ON)
@pytest.mark.parametrize("width", [3, 7, 12])
def test_other_marks_mean_what_they_lie_on(kind: str, width: int) -> None:
    ink = strokes(SHAPE, ON[kind], width)
    thing = ellipse(SHAPE, (205, 150), (70, 60))
    assert first_hits(kind, ink, thing)
    assert first_hits(kind, worn(ink, width), thing)


def test_an_underline_means_what_is_above() -> None:
    thing = ellipse(SHAPE, (200, 130), (60, 40))
    assert first_hits("other", strokes(SHAPE, [[(150, 178), (250, 180)]]), thing)
    double = [[(150, 180), (250, 178)], [(155, 196), (240, 196)]]
    assert first_hits("other", strokes(SHAPE, double, 7), thing)


@pytest.mark.parametrize("flip", [1, -1])
def test_a_bracket_means_what_is_at_its_open_side(flip: int) -> None:
    path = [(200 - flip * 60, 90), (200 - flip * 75, 90), (200 - flip * 75, 210),
            (200 - flip * 60, 210)]  # fmt: skip
    assert first_hits("other", strokes(SHAPE, [path]), ellipse(SHAPE, (200, 150), (50, 55)))


def test_the_seed_decides_and_nothing_else_does() -> None:
    ink = strokes(SHAPE, [LOOPS["closed"]])
    picture = scene(ellipse(SHAPE, (200, 150), (60, 45)), ink)
    marks = [mark("circle", ink)]
    one, two = (sample_prompts(picture, marks, seed=7) for _ in range(2))
    assert np.array_equal(one.coords, two.coords)
    assert np.array_equal(one.labels, two.labels)


def test_rows_belong_to_their_marks_and_are_padded() -> None:
    loop_ink, tick_ink = strokes(SHAPE, [LOOPS["closed"]]), strokes(SHAPE, ON["tick"])
    picture = scene(ellipse(SHAPE, (200, 150), (80, 60)), loop_ink | tick_ink)
    marks = [mark("tick", tick_ink), mark("circle", loop_ink)]
    prompts = sample_prompts(picture, marks, points_per_mark=1)
    assert np.array_equal(prompts.owners, np.sort(prompts.owners))
    assert set(prompts.owners) == {0, 1}
    assert (prompts.coords[prompts.labels == PADDING] == 0).all()
    assert ((prompts.labels == FOREGROUND).sum(axis=1) == 1).all()
    all_ink = loop_ink | tick_ink
    for row in range(len(prompts.owners)):
        points = foreground(prompts, row)
        assert not all_ink[points[:, 1], points[:, 0]].any()


def test_many_marks_get_their_most_likely_hypothesis_each() -> None:
    dots = [mark("dot", ellipse((120, 240), (20 + 40 * k, 60), (4, 4))) for k in range(5)]
    picture = np.full((120, 240, 3), 200, np.uint8)
    few, many = sample_prompts(picture, dots[:4]), sample_prompts(picture, dots)
    assert (np.bincount(few.owners) > 1).all()
    assert many.owners.tolist() == [0, 1, 2, 3, 4]
    firsts = [int(np.flatnonzero(few.owners == index)[0]) for index in range(4)]
    np.testing.assert_array_equal(many.coords[:4, 0], few.coords[firsts, 0])


def test_no_mark_no_prompt() -> None:
    prompts = sample_prompts(np.zeros((20, 30, 3), np.uint8), [])
    assert prompts.coords.shape == (0, 1, 2)
    assert prompts.labels.shape == (0, 1)
    assert prompts.owners.shape == (0,)


@st.composite
def inked(draw: st.DrawFn) -> tuple[int, int, list[Mark]]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    if draw(st.booleans()):
        width = draw(st.sampled_from([300, 700, 1400]))
    marks = []
    for _ in range(draw(st.integers(1, 3))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        columns = draw(st.integers(1, width - x0))
        rows = draw(st.integers(1, height - y0))
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        ink = rng.random((rows, columns)) < draw(st.sampled_from([0.0, 0.2, 0.9, 1.0]))
        ink[rng.integers(rows), rng.integers(columns)] = True
        box = np.array([x0, y0, x0 + columns, y0 + rows], np.float32)
        kind = draw(st.integers(0, len(KINDS) - 1))
        marks.append(Mark(kind=kind, score=0.5, box=box, ink=ink, origin=(x0, y0)))
    return height, width, marks


@settings(max_examples=150, deadline=None)
@given(inked(), st.integers(1, 4))
def test_points_are_in_the_picture_and_off_the_ink_whatever_the_ink(
    drawn: tuple[int, int, list[Mark]], points_per_mark: int
) -> None:
    height, width, marks = drawn
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    prompts = sample_prompts(picture, marks, points_per_mark=points_per_mark)
    ink = np.zeros((height, width), np.bool_)
    for one in marks:
        ink |= one.full_ink(height, width)
    assert set(prompts.owners) == set(range(len(marks)))
    for row in range(len(prompts.owners)):
        points = foreground(prompts, row)
        assert 1 <= len(points) <= max(points_per_mark, 1)
        assert ((points >= 0) & (points < (width, height))).all()
        if not ink.all():
            assert not ink[points[:, 1], points[:, 0]].any()


def test_a_picture_of_one_pixel_and_a_picture_full_of_ink() -> None:
    for shape in ((1, 1), (40, 30)):
        full = mark("tick", np.ones(shape, np.bool_))
        prompts = sample_prompts(np.zeros((*shape, 3), np.uint8), [full])
        points = foreground(prompts, 0)
        assert len(points) == 1
        assert (points < shape[::-1]).all()
