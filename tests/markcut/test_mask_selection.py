from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from markcut.candidates import FEATURES, feature_table, mark_grids
from markcut.contracts import MASKS_PER_PROMPT, SAM2_DECODER
from markcut.mask_selection import Selection, select_masks
from markcut.mask_shape import clean, to_picture
from markcut.point_sampler import Prompts
from tests.markcut.drawn import Mask, ellipse, loop, mark, strokes

SIDE = 64
SHAPE = (256, 320)  # cells of 5 x 4 pixels

Grid = NDArray[np.float32]


def logits_of(mask: Mask, *, steep: float = 8.0) -> Grid:
    """What a decoder would answer for ``mask``, of the picture's size."""
    share = cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return ((share - 0.5) * 2 * steep).astype(np.float32)


def answer(
    masks: list[list[Mask]], predicted: list[list[float]], points: list[tuple[float, float]]
) -> tuple[dict[str, NDArray[np.float32]], Prompts]:
    """Decoder outputs for one mark: per hypothesis its masks, their IoUs and its point."""
    empty = np.full((SIDE, SIDE), -8.0, np.float32)
    logits = np.stack(
        [
            np.stack([*(logits_of(m) for m in row), *[empty] * (MASKS_PER_PROMPT - len(row))])
            for row in masks
        ]
    )
    ious = np.array([[*row, *[0.1] * (MASKS_PER_PROMPT - len(row))] for row in predicted])
    values = (logits, ious.astype(np.float32), np.full((len(masks), 1), 5.0, np.float32))
    names = [tensor.name for tensor in SAM2_DECODER.outputs]
    prompts = Prompts(
        coords=np.array(points, np.float32)[:, None],
        labels=np.ones((len(points), 1), np.int32),
        owners=np.zeros(len(points), np.int32),
    )
    return dict(zip(names, values, strict=True)), prompts


def whole(found: Selection) -> Mask:
    out = np.zeros(SHAPE, np.bool_)
    x, y = found.origin
    out[y : y + found.mask.shape[0], x : x + found.mask.shape[1]] = found.mask
    return out


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


THING = ellipse(SHAPE, (160, 128), (60, 45))
AROUND = strokes(SHAPE, [loop((160, 128), (80, 62))], 6)
TICK = strokes(SHAPE, [[(140, 128), (155, 145), (185, 105)]], 6)
EVERYTHING = np.ones(SHAPE, np.bool_)


def test_the_mask_inside_the_circle_wins_over_larger_and_smaller_ones() -> None:
    part = ellipse(SHAPE, (150, 120), (15, 12))
    outputs, prompts = answer(
        [[part, THING, EVERYTHING]] * 2, [[0.9, 0.88, 0.9]] * 2, [(160, 128), (150, 122)]
    )
    (found,) = select_masks(outputs, prompts, [mark("circle", AROUND)], height=256, width=320)
    assert iou(whole(found), THING) > 0.95
    assert found.reason.startswith("inside the circle, agrees with 2 of 2 prompts, ")
    assert found.reason.endswith("predicted IoU 0.88")
    assert found.score == pytest.approx(0.88)


def test_a_threshold_moves_the_masks_edge() -> None:
    outputs, prompts = answer([[THING]], [[0.9]], [(160, 128)])
    logits = outputs[SAM2_DECODER.outputs[0].name]
    halo = cv2.dilate((logits[0, 0] > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    logits[0, 0][halo & (logits[0, 0] <= 0)] = -0.5
    area = []
    for threshold in (0.0, -1.0):
        (found,) = select_masks(
            outputs, prompts, [mark("tick", TICK)], height=256, width=320, threshold=threshold
        )
        area.append(np.count_nonzero(whole(found)))
    assert area[0] == pytest.approx(np.count_nonzero(THING), rel=0.1)
    assert area[1] > 1.15 * area[0]


def test_a_mask_that_is_just_the_ink_is_refused() -> None:
    outputs, prompts = answer([[TICK, THING]], [[0.97, 0.75]], [(150, 120)])
    (found,) = select_masks(outputs, prompts, [mark("tick", TICK)], height=256, width=320)
    assert iou(whole(found), THING) > 0.95
    assert found.reason == "under the tick, predicted IoU 0.75"


def test_hypotheses_that_agree_outvote_one_that_is_surer() -> None:
    wrong = ellipse(SHAPE, (60, 60), (40, 30))
    outputs, prompts = answer(
        [[wrong], [THING], [THING], [THING]],
        [[0.9], [0.85], [0.85], [0.85]],
        [(60, 60), (160, 128), (165, 120), (150, 130)],
    )
    (found,) = select_masks(outputs, prompts, [mark("tick", TICK)], height=256, width=320)
    assert iou(whole(found), THING) > 0.95
    assert found.row in (1, 2, 3)
    assert "agrees with 3 of 4 prompts" in found.reason


def test_marks_get_the_answers_to_their_own_prompts() -> None:
    other = ellipse(SHAPE, (40, 200), (25, 25))
    dot = ellipse(SHAPE, (40, 200), (5, 5))
    outputs, prompts = answer([[THING], [other]], [[0.9], [0.9]], [(160, 128), (40, 190)])
    prompts = Prompts(prompts.coords, prompts.labels, np.array([0, 1], np.int32))
    first, second = select_masks(
        outputs, prompts, [mark("tick", TICK), mark("dot", dot)], height=256, width=320
    )
    assert iou(whole(first), THING) > 0.95
    assert iou(whole(second), other) > 0.93
    assert (first.row, second.row) == (0, 1)


def test_nothing_found_is_an_empty_mask_and_says_so() -> None:
    outputs, prompts = answer([[]], [[]], [(160, 128)])
    (found,) = select_masks(outputs, prompts, [mark("arrow", TICK)], height=256, width=320)
    assert found.mask.shape == (0, 0)
    assert found.reason == "nothing found beyond the arrow's tip"
    (found,) = select_masks(outputs, prompts, [mark("circle", AROUND)], height=256, width=320)
    assert found.reason == "nothing found inside the circle"


def test_answers_that_are_no_numbers_are_no_answers() -> None:
    outputs, prompts = answer([[THING, THING]], [[np.nan, 0.8]], [(160, 128)])
    logits = outputs[SAM2_DECODER.outputs[0].name]
    logits[0, 2:] = np.nan
    (found,) = select_masks(outputs, prompts, [mark("tick", TICK)], height=256, width=320)
    assert iou(whole(found), THING) > 0.95
    assert 0 <= found.score <= 1


def test_the_table_says_what_its_columns_promise() -> None:
    outputs, prompts = answer([[THING], [EVERYTHING]], [[0.7], [0.6]], [(160, 128), (10, 10)])
    logits, predicted, objects = outputs.values()
    grids = mark_grids(mark("circle", AROUND), SIDE, height=256, width=320)
    scale = np.array([SIDE / 320, SIDE / 256], np.float32)
    table = feature_table(
        logits, predicted, objects[:, 0], prompts.coords * scale, prompts.labels, grids
    )
    thing, everything = (dict(zip(FEATURES, table[row, 0].tolist(), strict=True)) for row in (0, 1))
    assert thing["iou"] == pytest.approx(0.7)
    assert thing["inside"] == pytest.approx(1, abs=0.01)
    assert thing["fill"] == pytest.approx(THING.sum() / (np.pi * 77 * 59), abs=0.08)
    assert thing["size"] == pytest.approx(np.log10(THING.mean()), abs=0.02)
    assert thing["prompts"] == 0.5
    assert thing["own_prompts"] == 1
    assert thing["border"] == 0
    assert everything["border"] == 1
    ys, xs = np.nonzero(logits[0, 0] > 0)  # what is convex has the edge of its box
    around = 2 * (np.ptp(ys) + 1 + np.ptp(xs) + 1)
    assert thing["ragged"] == pytest.approx(around / len(ys) ** 0.5)
    assert everything["ragged"] == 0
    assert everything["on_ink"] == pytest.approx(1)
    assert everything["ink_share"] == pytest.approx(AROUND.mean(), rel=0.05)
    assert everything["prompts"] == 1
    assert thing["first"] == 1
    assert everything["first"] == 0


@pytest.mark.parametrize(("height", "width"), [(40, 50), (256, 320), (1700, 900)])
def test_the_grids_hold_the_ink_at_every_scale(height: int, width: int) -> None:
    ink = strokes((height, width), [[(5, 8), (width - 9, height - 12)]], max(2, width // 60))
    grids = mark_grids(mark("line", ink), SIDE, height=height, width=width)
    assert grids.ink.mean() == pytest.approx(ink.mean(), rel=0.12)
    expected = cv2.resize(ink.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert np.abs(grids.ink - expected).mean() < 0.02


def test_ink_leaves_no_hole_and_no_gap_in_the_object() -> None:
    crossing = strokes(SHAPE, [[(80, 120), (240, 140)]], 14)
    blob = ellipse(SHAPE, (170, 150), (9, 9))
    whole_ink = crossing | blob
    bitten = logits_of(THING & ~whole_ink)
    ink = cv2.resize(whole_ink.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cleaned = clean(bitten, np.array([[32.0, 25.0]], np.float32), np.asarray(ink, np.float32))
    truth = logits_of(THING) > 0
    assert ((bitten > 0) & truth).sum() < 0.9 * truth.sum()
    assert ((cleaned > 0) & truth).sum() > 0.95 * truth.sum()
    assert ((cleaned > 0) & ~truth).sum() < 0.03 * truth.sum()


def test_specks_go_real_holes_stay_and_parts_with_a_prompt_stay() -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:44, 20:44] = True
    mask[28:36, 28:36] = False  # a real hole
    mask[22, 22] = False  # a pinhole
    mask[5, 5] = True  # a speck
    mask[60, 60] = True  # small, but somebody pointed there
    logits = np.where(mask, 4.0, -4.0).astype(np.float32)
    points = np.array([[60.5, 60.5]], np.float32)
    cleaned = clean(logits, points, np.zeros((SIDE, SIDE), np.float32)) > 0
    assert not cleaned[30:34, 30:34].any()
    assert cleaned[22, 22]
    assert not cleaned[5, 5]
    assert cleaned[60, 60]
    assert cleaned.sum() == mask.sum() + 1 - 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10_000))
def test_the_box_holds_what_a_resize_of_everything_would(
    height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = np.full((SIDE, SIDE), -3.0, np.float32)
    x, y = rng.integers(0, SIDE - 6, 2)
    logits[y : y + 6, x : x + 6] = rng.normal(1, 2, (6, 6))
    expected = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    patch, (left, top) = to_picture(logits, height=height, width=width)
    got = np.zeros((height, width), np.bool_)
    got[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    # the two orders of adding up may differ in the last bit
    assert (got != expected).sum() <= 1
    if patch.size:
        assert all(edge.any() for edge in (patch[0], patch[-1], patch[:, 0], patch[:, -1]))
