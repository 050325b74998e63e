"""Boxes of two answers."""

from __future__ import annotations

import numpy as np

from export.boxes import box_iou, paired

SQUARE = [0.0, 0.0, 10.0, 10.0]
HALF = [5.0, 0.0, 15.0, 10.0]  # shares half of it
AWAY = [20.0, 20.0, 30.0, 30.0]
EMPTY = [4.0, 4.0, 4.0, 4.0]


def test_overlap_is_intersection_over_union() -> None:
    found = box_iou(np.array([SQUARE, EMPTY]), np.array([SQUARE, HALF, AWAY, EMPTY]))
    np.testing.assert_allclose(found, [[1, 1 / 3, 0, 0], [0, 0, 0, 1]])
    assert box_iou(np.zeros((0, 4)), np.array([SQUARE])).shape == (0, 1)


def test_every_box_takes_the_nearest_that_is_left() -> None:
    wanted, got = np.array([SQUARE, SQUARE, AWAY]), np.array([HALF, SQUARE])
    assert paired(wanted, got, least=0.3) == [(0, 1), (1, 0)]
    assert paired(wanted, got, least=0.5) == [(0, 1)]
    assert paired(wanted, np.zeros((0, 4)), least=0.5) == []


def test_what_is_not_alike_is_no_pair() -> None:
    boxes = np.array([SQUARE, SQUARE])
    other_kinds = np.array([[False, True], [True, False]])
    assert paired(boxes, boxes, least=0.5, alike=other_kinds) == [(0, 1), (1, 0)]
    assert paired(boxes, boxes, least=0.5, alike=np.zeros((2, 2), bool)) == []
