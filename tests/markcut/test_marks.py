"""From YOLO's answers to marks: windows worth a nearer look, looks fused, ink refined."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from markcut.contracts import CLIPSEG_SIDE, KINDS, YOLO11_SEG, YOLO_MASK_SIDE, YOLO_SIDE, YOLO_TOP_K
from markcut.geometry import Picture, Window, letterbox
from markcut.looks import Detection, crop_windows, detections
from markcut.marks import merge

CIRCLE, TICK = KINDS.index("circle"), KINDS.index("tick")


def drawn(height: int, width: int, *, width_px: int = 6) -> tuple[Picture, np.ndarray]:
    """A grey, noisy picture with a red ring, and the ring's ink."""
    rng = np.random.default_rng(0)
    picture = rng.integers(120, 140, (height, width, 3), dtype=np.uint8)
    ink = np.zeros((height, width), np.uint8)
    centre = (width // 2, height // 2)
    cv2.ellipse(ink, centre, (width // 8, height // 8), 0, 0, 360, 1, width_px)
    picture[ink > 0] = (220, 20, 30)
    return picture, ink > 0


def looked(
    picture: Picture,
    ink: np.ndarray,
    *,
    window: Window | None = None,
    score: float = 0.9,
    kind: int = CIRCLE,
) -> list[Detection]:
    """What a perfect YOLO says of ``ink`` in one look."""
    _, placement = letterbox(picture, YOLO_SIDE, window=window)
    x0, y0, x1, y1 = placement.window
    shown = ink[y0:y1, x0:x1]
    outputs = {
        t.name: np.zeros(tuple(map(int, t.dims[1:])), t.numpy_dtype) for t in YOLO11_SEG.outputs
    }
    boxes, scores, class_ids, masks = outputs.values()
    if shown.any():
        ys, xs = np.nonzero(shown)
        box = np.array([xs.min() + x0, ys.min() + y0, xs.max() + 1 + x0, ys.max() + 1 + y0], float)
        boxes[0] = placement.forward(box)
        scores[0], class_ids[0] = score, kind
        square = np.zeros((YOLO_SIDE, YOLO_SIDE), np.float32)
        a, b, c, d = placement.inner
        square[b:d, a:c] = cv2.resize(
            shown.astype(np.float32), (c - a, d - b), interpolation=cv2.INTER_AREA
        )
        cells = (YOLO_MASK_SIDE, YOLO_MASK_SIDE)
        masks[0] = np.minimum(1, 2.5 * cv2.resize(square, cells, interpolation=cv2.INTER_AREA))
    return detections(outputs, placement, threshold=0.05)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("size", [(180, 240), (640, 480), (900, 1200)])
def test_ink_is_found_at_the_pictures_own_resolution(size: tuple[int, int]) -> None:
    picture, ink = drawn(*size, width_px=4)
    (mark,) = merge(picture, looked(picture, ink), [], threshold=0.25, max_marks=10)
    assert mark.kind == CIRCLE
    assert iou(mark.full_ink(*size), ink) > 0.85
    x0, y0, x1, y1 = mark.box
    assert (x1 - x0, y1 - y0) == mark.ink.shape[::-1]


def test_nothing_seen_is_no_mark() -> None:
    picture, ink = drawn(300, 400)
    assert merge(picture, [], [], threshold=0.25, max_marks=10) == []
    weak = looked(picture, ink, score=0.1)
    assert merge(picture, weak, [], threshold=0.25, max_marks=10) == []


def test_answers_without_a_value_are_dropped() -> None:
    picture, ink = drawn(300, 400)
    assert looked(picture, ink, score=float("nan")) == []


def test_one_mark_in_two_looks_counts_once_and_the_finer_ink_wins() -> None:
    picture, ink = drawn(1500, 2000, width_px=5)
    window = (500, 250, 1500, 1250)
    whole = looked(picture, ink, score=0.6, kind=TICK)
    near = looked(picture, ink, window=window, score=0.9)
    (mark,) = merge(picture, whole, near, threshold=0.25, max_marks=10)
    assert mark.kind == CIRCLE
    assert mark.score == pytest.approx(0.9)
    assert iou(mark.full_ink(1500, 2000), ink) > 0.85


def test_a_mark_cut_by_a_window_is_taken_from_the_look_that_has_all_of_it() -> None:
    picture, ink = drawn(1500, 2000, width_px=9)
    half = (1000, 300, 1900, 1200)
    whole, near = looked(picture, ink, score=0.6), looked(picture, ink, window=half, score=0.9)
    (mark,) = merge(picture, whole, near, threshold=0.25, max_marks=10)
    assert iou(mark.full_ink(1500, 2000), ink) > 0.6


def test_a_weak_answer_that_a_nearer_look_does_not_share_is_dropped() -> None:
    picture, ink = drawn(1500, 2000)
    other = np.zeros_like(ink)
    other[400:430, 800:860] = True
    whole = looked(picture, ink, score=0.3)
    near = looked(picture, other, window=(500, 250, 1500, 1250), score=0.9, kind=TICK)
    marks = merge(picture, whole, near, threshold=0.25, max_marks=10)
    assert [m.kind for m in marks] == [TICK]


def test_at_most_max_marks_best_first() -> None:
    picture, ink = drawn(400, 600)
    second = np.zeros_like(ink)
    second[20:40, 20:80] = True
    seen = looked(picture, ink, score=0.5) + looked(picture, second, score=0.8, kind=TICK)
    marks = merge(picture, seen, [], threshold=0.25, max_marks=10)
    assert [m.kind for m in marks] == [TICK, CIRCLE]
    assert [m.kind for m in merge(picture, seen, [], threshold=0.25, max_marks=1)] == [TICK]


def test_a_one_pixel_picture_is_no_trouble() -> None:
    picture = np.zeros((1, 1, 3), np.uint8)
    seen = looked(picture, np.ones((1, 1), bool))
    for mark in merge(picture, seen, [], threshold=0.25, max_marks=10):
        assert mark.full_ink(1, 1).any()


def heat(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    out = np.zeros((CLIPSEG_SIDE, CLIPSEG_SIDE), np.float32)
    x0, y0, x1, y1 = (np.array(box) * CLIPSEG_SIDE / [width, height, width, height]).astype(int)
    out[y0 : y1 + 1, x0 : x1 + 1] = 0.9
    return out


def windows(height: int, width: int, box: tuple[int, int, int, int], **more: int) -> list[Window]:
    return crop_windows(
        heat(height, width, box),
        [],
        height=height,
        width=width,
        heat_threshold=0.5,
        max_windows=more.get("max_windows", 4),
    )


def test_a_large_picture_gets_a_native_window_around_the_heat() -> None:
    box = (2900, 2000, 3100, 2150)
    ((x0, y0, x1, y1),) = windows(3000, 4000, box)
    assert x0 < box[0] < box[2] < x1
    assert y0 < box[1] < box[3] < y1
    assert x1 - x0 == y1 - y0 == YOLO_SIDE


def test_a_window_stays_in_the_picture_and_holds_a_large_mark() -> None:
    ((x0, y0, x1, y1),) = windows(3000, 4000, (0, 0, 900, 700))
    assert (x0, y0) == (0, 0)
    assert x1 >= 900
    assert y1 >= 700


def test_a_mark_as_large_as_the_picture_needs_no_window() -> None:
    assert windows(3000, 4000, (100, 100, 3900, 2900)) == []


def test_windows_are_limited_and_not_doubled() -> None:
    picture = np.zeros((3000, 4000), bool)
    seen = []
    for x in (200, 1500, 3000):
        ink = picture.copy()
        ink[500:600, x : x + 150] = True
        seen += looked(np.zeros((3000, 4000, 3), np.uint8), ink)
    none = np.zeros((CLIPSEG_SIDE, CLIPSEG_SIDE), np.float32)
    every = {"height": 3000, "width": 4000, "heat_threshold": 0.5}
    assert len(crop_windows(none, seen * 2, max_windows=9, **every)) == 3
    assert len(crop_windows(none, seen, max_windows=2, **every)) == 2
    assert len(seen) == 3 <= YOLO_TOP_K
