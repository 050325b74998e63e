from __future__ import annotations

import numpy as np
import pytest

from benchmarks.matching import Region, box_iou, dice, mask_iou, match_ink, points_hit


def region(*, rows: tuple[int, int], columns: tuple[int, int]) -> Region:
    mask = np.zeros((20, 30), np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return Region(mask)


def test_region() -> None:
    shape = region(rows=(2, 5), columns=(3, 10))
    assert shape.box == (3, 2, 10, 5)
    assert shape.area == 21
    assert Region(np.zeros((4, 4), np.bool_)).box == (0, 0, 0, 0)


def test_mask_iou() -> None:
    a, b = region(rows=(0, 4), columns=(0, 10)), region(rows=(2, 6), columns=(0, 10))
    assert mask_iou(a, b) == pytest.approx(20 / 60)
    assert mask_iou(a, a) == 1.0
    assert mask_iou(a, region(rows=(10, 12), columns=(20, 22))) == 0.0
    empty = Region(np.zeros((20, 30), np.bool_))
    assert mask_iou(empty, empty) == mask_iou(a, empty) == 0.0


def test_mask_iou_equals_the_plain_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 9, 7)) < rng.uniform(0.02, 0.5)
        expected = (a & b).sum() / max(1, (a | b).sum())
        assert mask_iou(Region(a), Region(b)) == pytest.approx(expected)


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        mask_iou(Region(np.ones((2, 3), np.bool_)), Region(np.ones((3, 2), np.bool_)))


def test_box_iou() -> None:
    assert box_iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert box_iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0.0
    assert box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


def test_dice_from_iou() -> None:
    a, b = region(rows=(0, 4), columns=(0, 10)), region(rows=(2, 6), columns=(0, 10))
    assert dice(mask_iou(a, b)) == pytest.approx(2 * 20 / (a.area + b.area))
    assert dice(0.0) == 0.0
    assert dice(1.0) == 1.0


def test_each_mark_gets_its_best_answer_and_no_answer_serves_twice() -> None:
    near, far = region(rows=(0, 4), columns=(0, 10)), region(rows=(10, 14), columns=(0, 10))
    shifted = region(rows=(1, 5), columns=(0, 10))
    assert match_ink([near, far], [far, shifted, near]) == [(0, 2, 1.0), (1, 0, 1.0)]
    assert match_ink([near], [shifted]) == [(0, 0, pytest.approx(0.6))]
    assert match_ink([near], [far]) == []
    assert match_ink([], [near]) == match_ink([near], []) == []


def test_a_thin_stroke_beside_itself_is_found_by_its_box() -> None:
    diagonal = Region(np.eye(20, dtype=np.bool_))
    beside = Region(np.eye(20, k=1, dtype=np.bool_))
    assert match_ink([diagonal], [beside]) == [(0, 0, 0.0)]


def test_a_better_pair_is_never_given_up_for_an_earlier_one() -> None:
    first, second = region(rows=(0, 6), columns=(0, 10)), region(rows=(2, 8), columns=(0, 10))
    assert match_ink([first, second], [second]) == [(1, 0, 1.0)]


def test_points_hit() -> None:
    wanted = region(rows=(5, 15), columns=(5, 15)).mask
    ink = region(rows=(9, 10), columns=(0, 30)).mask
    points = np.array([
        [7.5, 7.5], [7.5, 9.5], [4.99, 7.5], [14.99, 14.99], [15.0, 10.5], [-1, 7], [31, 7],
    ])  # fmt: skip
    assert points_hit(points, wanted, ink).tolist() == [True, False, False, True] + [False] * 3
    assert points_hit(np.zeros((0, 2)), wanted, ink).tolist() == []
