from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from markcut import marks as marks_module
from markcut.contracts import KINDS, YOLO11_SEG, YOLO_MASK_SIDE, YOLO_SIDE, YOLO_TOP_K
from markcut.geometry import Placement, Window, letterbox
from markcut.ink import refine_ink
from markcut.marks import Detection, Mark, crop_windows, detections, ink_with_margin
from tests.markcut.drawn import INK, Mask, Picture, ellipse, loop, mark, scene, strokes
from tests.markcut.weighing import linear

Outputs = dict[str, NDArray[Any]]
WEIGHTS = linear(0.4, score=0.7, whole=0.3, heat=1.4, spread=-0.3)
merge = partial(marks_module.merge, weights=WEIGHTS, windows=())
COLD = np.zeros((352, 352), np.float32)


def outputs(answers: Sequence[tuple[str, float, Any, Any]] = ()) -> Outputs:
    """What YOLO would say: kinds, scores, boxes and masks (in its input), empty rows behind."""
    boxes, scores, class_ids, masks = (
        np.zeros(tuple(d for d in tensor.dims if isinstance(d, int)), tensor.numpy_dtype)
        for tensor in YOLO11_SEG.outputs
    )
    for row, (kind, score, box, prob) in enumerate(answers):
        boxes[row], scores[row], class_ids[row], masks[row] = box, score, KINDS.index(kind), prob
    names = (tensor.name for tensor in YOLO11_SEG.outputs)
    return dict(zip(names, (boxes, scores, class_ids, masks), strict=True))


def looked(
    inks: Sequence[tuple[str, float, Mask]], window: Window | None = None
) -> list[Detection]:
    """What a good network finds in one look at inks: kinds, scores, inks of the picture's size."""
    height, width = inks[0][2].shape
    answers = []
    for kind, score, ink in inks:
        picture = np.repeat(ink[..., None], 3, axis=2).astype(np.uint8) * 255
        square, placement = letterbox(picture, YOLO_SIDE, window=window)
        left, top, right, bottom = placement.inner
        cover = np.zeros((YOLO_SIDE, YOLO_SIDE), np.float32)
        cover[top:bottom, left:right] = square[top:bottom, left:right, 0] / 255
        ys, xs = np.nonzero(cover > 0.1)
        if len(xs) == 0:
            continue
        cells = cv2.resize(cover, (YOLO_MASK_SIDE, YOLO_MASK_SIDE), interpolation=cv2.INTER_AREA)
        prob = cv2.GaussianBlur(np.minimum(2.5 * cells, 1), (0, 0), 0.6)
        box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        answers.append((kind, score, box, prob))
    window = window or (0, 0, width, height)
    _, placement = letterbox(np.zeros((height, width, 3), np.uint8), YOLO_SIDE, window=window)
    return detections(outputs(answers), placement, threshold=0.05)


def only(marks: list[Mark]) -> Mark:
    assert len(marks) == 1
    return marks[0]


def iou(one: Mask, other: Mask) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def full(found: Mark, ink: Mask) -> Mask:
    return found.full_ink(*ink.shape)


def windows_of(heat: NDArray[np.float32], whole: Sequence[Detection], **sizes: int) -> list[Window]:
    return crop_windows(heat, whole, heat_threshold=0.5, max_windows=6, **sizes)


def tick(shape: tuple[int, int], x: float, y: float, size: float, width: int) -> Mask:
    path = [(x - size / 2, y), (x - size / 5, y + size / 3), (x + size / 2, y - size / 2)]
    return strokes(shape, [path], width)


# --- detections ---------------------------------------------------------------------------------


def placement_of(height: int, width: int, window: Window | None = None) -> Placement:
    return letterbox(np.zeros((height, width, 3), np.uint8), YOLO_SIDE, window=window)[1]


def test_an_answer_comes_back_in_pixels_of_the_picture() -> None:
    shape = (480, 640)
    ink = tick(shape, 200, 300, 120, 6)
    found = only_detection(looked([("tick", 0.8, ink)]))
    ys, xs = np.nonzero(ink)
    assert np.allclose(found.box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=2)
    assert KINDS[found.kind] == "tick"
    assert found.score == pytest.approx(0.8)
    x0, y0, x1, y1 = found.region
    assert x0 < xs.min()
    assert y0 < ys.min()
    assert x1 > xs.max()
    assert y1 > ys.max()


def only_detection(found: list[Detection]) -> Detection:
    assert len(found) == 1
    return found[0]


def test_a_window_shifts_and_scales_its_answers() -> None:
    shape = (1000, 1400)
    ink = tick(shape, 700, 500, 150, 6)
    window = (500, 300, 900, 700)
    found = only_detection(looked([("tick", 0.8, ink)], window))
    ys, xs = np.nonzero(ink)
    assert np.allclose(found.box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=2)
    assert found.window == window


def test_below_the_threshold_empty_and_broken_answers_are_dropped() -> None:
    prob = np.ones((YOLO_MASK_SIDE, YOLO_MASK_SIDE), np.float32)
    box, nan = (100, 200, 300, 400), float("nan")
    answers = [
        ("dot", nan, box, prob),
        ("dot", 0.9, (nan, 200, 300, 400), prob),
        ("dot", 0.2, box, prob),
        ("dot", 0.8, box, prob),
        ("dot", 0.7, (300, 200, 300, 400), prob),  # without width
        ("dot", 0.6, (100, 0, 300, 40), prob),  # on the padding
    ]
    found = detections(outputs(answers), placement_of(300, 640), threshold=0.3)
    assert [d.score for d in found] == pytest.approx([0.8])


def test_a_threshold_of_nothing_still_leaves_out_suppressed_rows() -> None:
    assert detections(outputs(), placement_of(300, 640), threshold=0.0) == []


def test_a_mask_that_is_not_finite_counts_as_no_ink() -> None:
    prob = np.full((YOLO_MASK_SIDE, YOLO_MASK_SIDE), np.nan, np.float32)
    found = detections(
        outputs([("dot", 0.8, (100, 200, 300, 400), prob)]), placement_of(640, 640), threshold=0.3
    )
    assert (found[0].prob == 0).all()
    picture = np.full((640, 640, 3), 90, np.uint8)
    assert len(merge(picture, found, [], COLD, threshold=0.3, max_marks=4)) == 1


# --- windows ------------------------------------------------------------------------------------


def test_a_small_picture_with_a_sure_mark_needs_no_nearer_look() -> None:
    whole = looked([("circle", 0.9, strokes((500, 700), [loop((300, 250), (120, 90))], 8))])
    assert windows_of(COLD, whole, height=500, width=700) == []


def test_a_weak_mark_in_a_small_picture_is_looked_at_enlarged() -> None:
    whole = looked([("tick", 0.3, tick((240, 180), 60, 60, 30, 2))])
    (window,) = windows_of(COLD, whole, height=240, width=180)
    assert window[2] - window[0] <= 160
    assert window[0] <= 45
    assert window[1] <= 45
    assert window[2] >= 75
    assert window[3] >= 75


def test_heat_that_nothing_explains_is_looked_at_at_full_resolution() -> None:
    heat = COLD.copy()
    heat[100:110, 200:212] = 0.9
    (window,) = windows_of(heat, [], height=3000, width=4000)
    assert window[2] - window[0] == window[3] - window[1] == YOLO_SIDE
    x, y = 206 * 4000 / 352, 105 * 3000 / 352
    assert window[0] + 100 < x < window[2] - 100
    assert window[1] + 100 < y < window[3] - 100


def test_heat_on_a_sure_mark_is_explained() -> None:
    ink = strokes((900, 900), [loop((450, 450), (200, 150))], 10)
    heat = cv2.resize(ink.astype(np.float32), (352, 352), interpolation=cv2.INTER_AREA)
    whole = looked([("circle", 0.9, ink)])
    assert windows_of(np.minimum(heat * 4, 1), whole, height=900, width=900) == []


def test_neighbours_share_a_window_and_strangers_do_not() -> None:
    shape = (3000, 4000)
    near = [tick(shape, 1000, 1000, 120, 8), tick(shape, 1250, 1100, 120, 8)]
    far = tick(shape, 3000, 2000, 120, 8)
    whole = looked([("tick", 0.5, ink) for ink in (*near, far)])
    found = windows_of(COLD, whole, height=3000, width=4000)
    assert len(found) == 2
    for d in whole:
        assert any(
            (d.box[:2] > w[:2]).all() and (d.box[2:] < w[2:]).all() for w in map(np.array, found)
        )


def test_the_most_promising_windows_come_first_and_there_are_not_too_many() -> None:
    shape = (3000, 4000)
    inks = [tick(shape, 500 + 800 * i, 500 + 600 * i, 100, 8) for i in range(4)]
    scores = (0.3, 0.55, 0.2, 0.4)
    whole = looked([("tick", s, ink) for s, ink in zip(scores, inks, strict=True)])
    found = crop_windows(COLD, whole, height=3000, width=4000, heat_threshold=0.5, max_windows=2)
    assert len(found) == 2
    for window, ink in zip(found, (inks[1], inks[3]), strict=True):
        ys, xs = np.nonzero(ink)
        assert window[0] < xs.min()
        assert window[1] < ys.min()
        assert window[2] > xs.max()
        assert window[3] > ys.max()


def test_windows_stay_inside_and_heat_everywhere_is_split_or_ignored() -> None:
    heat = np.full((352, 352), 0.7, np.float32)
    heat[300:310, 5:15] = 0.99
    heat[0, 0] = np.nan
    for height, width in ((3000, 4000), (300, 4000), (1, 1), (1, 5000), (180, 180)):
        for x0, y0, x1, y1 in windows_of(heat, [], height=height, width=width):
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
    assert len(windows_of(heat, [], height=3000, width=4000)) >= 1


# --- ink ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 6, 14])
def test_ink_is_found_to_the_pixel_inside_of_coarse_cells(width: int) -> None:
    shape = (900, 1200)
    thing = ellipse(shape, (500, 450), (260, 200))
    ink = strokes(shape, [loop((500, 450), (300, 230))], width)
    patch, (x, y) = refine_ink(scene(thing, ink), looked([("circle", 0.9, ink)])[0])
    found = np.zeros(shape, np.bool_)
    found[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    assert iou(found, ink) > 0.85


def test_ink_of_the_cloths_own_colour_falls_back_to_the_coarse_mask() -> None:
    shape = (700, 700)
    ink = tick(shape, 350, 350, 200, 20)
    picture = np.full((*shape, 3), (180, 40, 40), np.uint8)
    patch, (x, y) = refine_ink(picture, looked([("tick", 0.9, ink)])[0])
    found = np.zeros(shape, np.bool_)
    found[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    assert np.count_nonzero(found & ink) > 0.8 * np.count_nonzero(ink)
    assert iou(found, ink) > 0.5


@pytest.mark.parametrize(("colour", "stays"), [((30, 60, 200), False), (INK, True)])
def test_a_piece_of_another_colour_is_another_thing(
    colour: tuple[int, int, int], stays: bool
) -> None:
    shape = (700, 900)
    stroke = tick(shape, 300, 350, 240, 12)
    block = np.zeros(shape, np.bool_)
    block[160:190, 520:545] = True
    picture = scene(np.zeros(shape, np.bool_), stroke)
    picture[block] = colour
    patch, (x, y) = refine_ink(picture, looked([("tick", 0.9, stroke | block)])[0])
    found = np.zeros(shape, np.bool_)
    found[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    assert iou(found & ~block, stroke) > 0.8
    assert (found & block).any() == stays


def test_translucent_ink_over_a_pattern_is_found() -> None:
    shape = (600, 800)
    picture = np.full((*shape, 3), 235, np.uint8)
    picture[:, (np.arange(800) // 24) % 2 == 0] = (70, 110, 190)
    ink = tick(shape, 400, 300, 300, 22)
    picture[ink] = (picture[ink] * np.array([1.0, 0.95, 0.15])).astype(np.uint8)  # a highlighter
    patch, (x, y) = refine_ink(picture, looked([("tick", 0.9, ink)])[0])
    found = np.zeros(shape, np.bool_)
    found[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    assert iou(found, ink) > 0.75


def test_ink_at_the_border_reaches_the_border() -> None:
    shape = (400, 500)
    ink = strokes(shape, [[(0, 100), (120, 180)], [(380, 0), (499, 90)]], 8)
    picture = scene(np.zeros(shape, np.bool_), ink)
    parts = [ink & (np.arange(500) < 250), ink & (np.arange(500) >= 250)]
    whole = looked([("line", 0.9, part) for part in parts])
    marks = merge(picture, whole, [], COLD, threshold=0.3, max_marks=4)
    assert [iou(full(m, ink), part) > 0.8 for m, part in zip(marks, parts, strict=True)] == [1, 1]
    assert marks[0].box[0] == 0
    assert marks[1].box[1] == 0


def test_a_picture_of_one_pixel() -> None:
    prob = np.ones((YOLO_MASK_SIDE, YOLO_MASK_SIDE), np.float32)
    found = detections(
        outputs([("dot", 0.9, (10, 10, 600, 600), prob)]), placement_of(1, 1), threshold=0.1
    )
    picture = np.zeros((1, 1, 3), np.uint8)
    the_mark = only(merge(picture, found, [], COLD, threshold=0.1, max_marks=4))
    assert the_mark.ink.shape == (1, 1)
    assert the_mark.full_ink(1, 1).all()


def test_margin_grows_ink_and_stops_at_the_border() -> None:
    ink = np.zeros((20, 30), np.bool_)
    ink[0:4, 10:14] = True
    patch, (x, y) = ink_with_margin(mark("dot", ink), 2.0, height=20, width=30)
    assert (x, y) == (8, 0)
    assert patch.shape == (6, 8)
    assert patch[0].all()
    assert not patch[-1, 0]  # corners are round
    same, origin = ink_with_margin(mark("dot", ink), 0.0, height=20, width=30)
    assert same.all()
    assert origin == (10, 0)


# --- merge --------------------------------------------------------------------------------------

SHAPE = (1500, 2000)


def plain(ink: Mask) -> Picture:
    return scene(np.zeros(ink.shape, np.bool_), ink)


def test_nothing_seen_or_everything_below_the_threshold_is_no_mark() -> None:
    ink = tick(SHAPE, 500, 500, 200, 9)
    assert merge(plain(ink), [], [], COLD, threshold=0.3, max_marks=8) == []
    faint = looked([("tick", 0.2, ink)])
    assert merge(plain(ink), faint, [], COLD, threshold=0.3, max_marks=8) == []


def test_a_mark_seen_twice_is_one_and_the_finer_look_gives_its_ink() -> None:
    ink = tick(SHAPE, 700, 600, 200, 5)
    picture = plain(ink)
    window = (400, 300, 1040, 940)
    whole, crop = looked([("line", 0.5, ink)]), looked([("tick", 0.9, ink)], window)
    found = only(merge(picture, whole, crop, COLD, threshold=0.3, max_marks=8))
    assert KINDS[found.kind] == "tick"
    alone = only(merge(picture, [], crop, COLD, threshold=0.1, max_marks=8))
    assert found.score == alone.score  # the whole is too large to show thin ink
    assert np.array_equal(found.ink, alone.ink)
    assert iou(full(found, ink), ink) > 0.85
    ys, xs = np.nonzero(full(found, ink))
    assert found.box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_what_its_window_cuts_does_not_replace_the_whole() -> None:
    ink = strokes(SHAPE, [loop((1000, 750), (420, 330))], 12)
    window = (200, 300, 840, 940)
    whole, crop = looked([("circle", 0.7, ink)]), looked([("line", 0.95, ink)], window)
    found = only(merge(plain(ink), whole, crop, COLD, threshold=0.3, max_marks=8))
    assert KINDS[found.kind] == "circle"
    assert iou(full(found, ink), ink) > 0.7


def test_pieces_in_several_windows_become_one_mark() -> None:
    ink = strokes(SHAPE, [[(300, 700), (1500, 760)]], 9)
    pieces = [
        d for x in (200, 640, 1080) for d in looked([("line", 0.8, ink)], (x, 400, x + 640, 1040))
    ]
    assert len(pieces) == 3
    found = only(merge(plain(ink), [], pieces, COLD, threshold=0.1, max_marks=8))
    assert iou(full(found, ink), ink) > 0.8


def test_a_part_that_was_taken_for_a_mark_of_its_own_is_dropped() -> None:
    stroke = strokes(SHAPE, [[(500, 500), (700, 700)]], 9)
    cross = stroke | strokes(SHAPE, [[(700, 500), (500, 700)]], 9)
    whole = looked([("cross", 0.9, cross), ("line", 0.6, stroke)])
    found = only(merge(plain(cross), whole, [], COLD, threshold=0.3, max_marks=8))
    assert KINDS[found.kind] == "cross"


def test_marks_inside_of_and_on_each_other_stay_apart() -> None:
    circle = strokes(SHAPE, [loop((800, 700), (300, 250))], 10)
    inside = tick(SHAPE, 800, 700, 150, 8)
    dot = ellipse(SHAPE, (1100, 700), (12, 12))
    everything = circle | inside | dot
    whole = looked([("circle", 0.9, circle), ("tick", 0.8, inside), ("dot", 0.7, dot)])
    marks = merge(plain(everything), whole, [], COLD, threshold=0.3, max_marks=8)
    assert sorted(KINDS[m.kind] for m in marks) == ["circle", "dot", "tick"]


def test_a_mark_is_as_sure_as_the_surest_look_at_it() -> None:
    ink = tick(SHAPE, 700, 600, 100, 5)
    whole = looked([("tick", 0.5, ink)])
    window = (400, 300, 1040, 940)
    scores = [
        only(merge(plain(ink), whole, crops, COLD, threshold=0.1, max_marks=8)).score
        for crops in (
            [],
            looked([("tick", 0.3, ink)], window),
            looked([("tick", 0.8, ink)], window),
        )
    ]
    assert scores[0] == scores[1] < scores[2]


def test_a_look_at_the_whole_counts_where_it_could_have_shown_the_mark() -> None:
    scores = []
    for shape in ((900, 1200), (2700, 3600)):
        ink = tick(shape, 600, 450, 200, 9)
        nearer = looked([("tick", 0.6, ink)], (280, 130, 920, 770))
        picture = scene(np.zeros(shape, np.bool_), ink)
        scores.append(only(merge(picture, [], nearer, COLD, threshold=0.01, max_marks=8)).score)
    assert scores[0] < scores[1]


def test_nearer_looks_that_miss_a_mark_count_against_it() -> None:
    ink = tick(SHAPE, 700, 600, 200, 9)
    window, other = (380, 280, 1020, 920), (400, 300, 1040, 940)
    picture = plain(ink)
    looks = [*looked([("tick", 0.8, ink)]), *looked([("tick", 0.7, ink)], window)]
    scores = [
        only(
            merge(
                picture, looks[:1], looks[1:], COLD, threshold=0.01, max_marks=8,
                windows=windows, weights=linear(near=1.0),
            )
        ).score
        for windows in ((window, other), (window,), ((0, 0, 90, 90),))
    ]  # fmt: skip
    assert scores[0] < scores[1] < scores[2]
    assert scores[1] == pytest.approx(0.7, abs=1e-5)
    assert scores[2] == pytest.approx(0.8, abs=1e-5)  # no nearer look could show it


def test_heat_and_even_ink_make_a_mark_surer() -> None:
    ink = tick(SHAPE, 700, 600, 200, 9)
    whole = looked([("tick", 0.4, ink)])
    hot = np.ones_like(COLD)
    painted = plain(ink)
    rng = np.random.default_rng(0)
    motley = painted.copy()
    motley[ink] = rng.integers(0, 255, (np.count_nonzero(ink), 3))
    scores = [
        only(merge(picture, whole, [], heat, threshold=0.01, max_marks=8)).score
        for picture, heat in ((motley, COLD), (painted, COLD), (painted, hot))
    ]
    assert scores == sorted(scores)
    assert merge(motley, whole, [], COLD, threshold=scores[1], max_marks=8) == []
    assert len(merge(painted, whole, [], COLD, threshold=scores[1], max_marks=8)) == 1


def test_the_best_marks_come_first_and_equal_ones_from_left_to_right() -> None:
    inks = [tick(SHAPE, x, 500, 120, 8) for x in (1500, 300, 900)]
    whole = looked([("tick", s, ink) for s, ink in zip((0.8, 0.8, 0.9), inks, strict=True)])
    picture = plain(inks[0] | inks[1] | inks[2])
    marks = merge(picture, whole, [], COLD, threshold=0.3, max_marks=8)
    assert [int(m.box[0]) // 300 for m in marks] == [2, 0, 4]
    assert len(merge(picture, whole, [], COLD, threshold=0.3, max_marks=2)) == 2


@pytest.mark.parametrize("called", ["arrow", "line", "tick"])
def test_ink_tells_arrows_from_lines(called: str) -> None:
    shaft = [(500, 900), (1100, 600)]
    barbs = [(960, 600), (1100, 600), (1020, 710)]
    for paths, kind in (([shaft], "line"), ([shaft, barbs], "arrow")):
        ink = strokes(SHAPE, paths, 10)
        whole = looked([(called, 0.9, ink)])
        found = only(merge(plain(ink), whole, [], COLD, threshold=0.1, max_marks=8))
        assert KINDS[found.kind] == (called if called == "tick" else kind)


def test_scores_that_are_no_numbers_are_dropped() -> None:
    ink = tick(SHAPE, 700, 600, 200, 8)
    (seen,) = looked([("tick", 0.9, ink)])
    broken = Detection(seen.kind, float("nan"), seen.box, seen.prob, seen.region, seen.window)
    found, same = (
        only(merge(plain(ink), looks, more, COLD, threshold=0.3, max_marks=8))
        for looks, more in (([broken, seen], [broken]), ([seen], []))
    )
    assert found.score == same.score


def test_every_row_the_network_has_at_twelve_megapixels() -> None:
    shape = (3000, 4000)
    ink = np.zeros(shape, np.bool_)
    inks = []
    for i in range(YOLO_TOP_K):
        x, y = 300 + 480 * (i % 8), 400 + 700 * (i // 8)
        path = [(x - 100, y), (x + 100, y + 60)]
        inks.append((path, strokes(shape, [path], 6)))
        ink |= inks[-1][1]
    whole = [d for _, one in inks[:4] for d in looked([("line", 0.9, one)])]
    marks = merge(plain(ink), whole, [], COLD, threshold=0.3, max_marks=32)
    assert len(marks) == 4
    assert all(iou(full(m, ink), one) > 0.6 for m, (_, one) in zip(marks, inks, strict=False))


def test_a_lower_threshold_changes_nothing_about_where_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a mark that the higher one finds could be lost, or become another kind."""
    from markcut import chain
    from markcut.clock import Clock
    from markcut.parameters import Parameters

    steered: list[list[float]] = []

    def windows(heatmap: Any, whole: Sequence[Detection], **_: Any) -> list[Window]:
        steered.append([round(d.score, 2) for d in whole])
        return []

    monkeypatch.setattr(chain, "crop_windows", windows)
    prob = np.ones((YOLO_MASK_SIDE, YOLO_MASK_SIDE), np.float32)
    boxes = ((100, 200, 300, 400), (400, 400, 500, 500), (20, 20, 60, 60))
    answers = [("dot", s, box, prob) for s, box in zip((0.9, 0.2, 0.05), boxes, strict=True)]
    whole = {name: array[None] for name, array in outputs(answers).items()}
    picture = np.full((640, 640, 3), 90, np.uint8)
    defaults = {"mark_threshold": 0.25, "heat_threshold": 0.5}
    counts = []
    for threshold in (0.6, 0.25, 0.01):
        asked = Parameters(mark_threshold=threshold)
        found = chain.find_marks(
            picture, COLD[None], whole, lambda view: {}, asked, defaults, None, Clock()
        )
        counts.append(len(found))
    assert counts == [1, 1, 3]
    assert steered == [[0.9, 0.2]] * 3
