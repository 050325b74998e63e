from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.figures import confusion, figures, wilson
from benchmarks.judging import FalseMark, Found, MarkOutcome, PictureOutcome, judge

FOUND = Found(
    index=0, kind="tick", ink_iou=0.8, object_iou=0.9, point_hit=True, all_points_hit=True
)


def picture(
    *marks: MarkOutcome, false: tuple[str, ...] = (), size: str = "small"
) -> PictureOutcome:
    return PictureOutcome(
        size=size, seed=1, layout="plain", height=10, width=10, marks=marks,
        false_marks=tuple(FalseMark(9, kind) for kind in false),
    )  # fmt: skip


PICTURES = [
    picture(MarkOutcome("tick", 3.0, FOUND), MarkOutcome("cross", 6.0, None)),
    picture(
        MarkOutcome("tick", 6.0, replace(FOUND, kind="cross", object_iou=0.5, point_hit=False)),
        false=("dot",),
    ),
    picture(false=("dot", "tick")),
    picture(),
]


def test_judging_a_perfect_answer(world: Any) -> None:
    outcome = judge(world.scene(), world.extract(world.right_dot, world.right_line), size="small")
    assert outcome.false_marks == ()
    assert [(mark.kind, mark.stroke_width) for mark in outcome.marks] == [("line", 3), ("dot", 6)]
    for mark, index in zip(outcome.marks, (1, 0), strict=True):
        assert mark.found == Found(
            index=index, kind=mark.kind, ink_iou=1.0, object_iou=1.0, point_hit=True,
            all_points_hit=True,
        )  # fmt: skip


def test_judging_what_goes_wrong(world: Any) -> None:
    half = world.rectangle(5, 5, 25, 55)
    wrong = world.said("tick", world.line, half, [(20.5, 10.5), (25.5, 32.5)])
    nowhere = world.said("dot", world.rectangle(0, 0, 3, 3), world.right, [(1.0, 1.0)])
    outcome = judge(world.scene(), world.extract(wrong, nowhere), size="small")
    line, dot = outcome.marks
    assert dot.found is None
    assert outcome.false_marks == (FalseMark(1, "dot"),)
    assert line.found == Found(
        index=0, kind="tick", ink_iou=1.0, object_iou=0.5, point_hit=True, all_points_hit=False
    )


@pytest.mark.parametrize(
    "point",
    [(73.5, 28.5), (50.5, 30.5), (25.5, 20.5)],
    ids=["on the ink", "on the background", "on the other object"],
)
def test_points_that_miss(world: Any, point: tuple[float, float]) -> None:
    answer = world.said("dot", world.dot, world.right, [point])
    found = judge(world.scene(), world.extract(answer), size="small").marks[1].found
    assert found is not None
    assert not found.point_hit


def test_no_point_is_no_hit(world: Any) -> None:
    answer = world.said("dot", world.dot, world.right, [])
    found = judge(world.scene(), world.extract(answer), size="small").marks[1].found
    assert found is not None
    assert not found.point_hit
    assert not found.all_points_hit


def test_a_second_answer_for_one_mark_is_a_false_one(world: Any) -> None:
    outcome = judge(world.scene(), world.extract(*[world.right_dot] * 2), size="small")
    assert outcome.false_marks == (FalseMark(1, "dot"),)


def test_without_an_answer_every_mark_is_missed(world: Any) -> None:
    outcome = judge(world.scene(), None, size="small")
    assert [mark.found for mark in outcome.marks] == [None, None]


def test_figures_of_everything() -> None:
    found = figures(PICTURES)
    assert (found.pictures, found.unmarked_pictures, found.marks) == (4, 2, 3)
    assert found.recall is not None
    assert (found.recall.value, found.recall.of) == (pytest.approx(2 / 3, abs=1e-4), 3)
    assert (found.false_marks, found.false_per_picture, found.false_per_unmarked) == (3, 0.75, 1.0)
    assert found.kind_accuracy is not None
    assert found.kind_accuracy.value == 0.5
    assert found.point_hit is not None
    assert found.point_hit.value == 0.5
    assert found.object_iou is not None
    assert (found.object_iou.mean, found.object_iou.median) == (0.7, 0.7)
    assert found.end_to_end_iou is not None
    assert found.end_to_end_iou.mean == pytest.approx(1.4 / 3, abs=1e-4)
    assert found.end_to_end_iou.median == 0.5
    assert found.object_dice is not None
    assert found.object_dice.mean == pytest.approx((1.8 / 1.9 + 1 / 1.5) / 2, abs=1e-4)


def test_figures_of_a_kind_and_of_a_stroke_width() -> None:
    ticks = figures(PICTURES, kind="tick")
    assert (ticks.marks, ticks.false_marks, ticks.false_per_unmarked) == (2, 1, 0.5)
    wide = figures(PICTURES, stroke_width=(4.0, 8.0))
    assert (wide.marks, wide.false_marks, wide.false_per_picture) == (2, None, None)


def test_nothing_to_count_is_none() -> None:
    nothing = figures(PICTURES, kind="line")
    assert nothing.marks == 0
    assert nothing.recall is nothing.object_iou is nothing.end_to_end_iou is None
    assert figures([]).false_per_picture is None


def test_confusion() -> None:
    counts = confusion(PICTURES)
    assert counts["tick"]["tick"] == counts["tick"]["cross"] == counts["cross"]["missed"] == 1
    assert (counts["none"]["dot"], counts["none"]["tick"]) == (2, 1)
    assert sum(sum(row.values()) for row in counts.values()) == 6


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)
