from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markcut.geometry import PADDING, Placement, letterbox, stretch

sides = st.integers(1, 500)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    width, height, side = draw(sides), draw(sides), draw(st.integers(16, 128))
    picture = np.zeros((height, width, 3), np.uint8)
    if draw(st.booleans()):
        return stretch(picture, side)[1]
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    window = (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))
    return letterbox(picture, side, window=window)[1]


@settings(max_examples=200, deadline=None)
@given(placements(), st.lists(st.tuples(st.floats(-600, 600), st.floats(-600, 600)), max_size=5))
def test_backward_undoes_forward(placement: Placement, points: list[tuple[float, float]]) -> None:
    xy = np.array(points, np.float64).reshape(-1, 2)
    assert np.allclose(placement.backward(placement.forward(xy)), xy, atol=1e-6)
    boxes = np.concatenate([xy, xy], axis=1)
    assert np.allclose(placement.forward(placement.backward(boxes)), boxes, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(placements())
def test_the_window_fills_the_inner_rectangle_exactly(placement: Placement) -> None:
    x0, y0, x1, y1 = placement.inner
    assert 0 <= x0 < x1 <= placement.side
    assert 0 <= y0 < y1 <= placement.side
    assert max(x1 - x0, y1 - y0) == placement.side  # as large as it fits
    assert abs(x0 - (placement.side - x1)) <= 1  # and centred
    assert abs(y0 - (placement.side - y1)) <= 1
    assert np.array_equal(placement.forward(np.array(placement.window)), placement.inner)
    assert np.array_equal(placement.backward(np.array(placement.inner)), placement.window)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.data())
def test_colours_go_where_coordinates_say(width: int, height: int, data: st.DataObject) -> None:
    column, row = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[row, column] = 255
    for square, placement in (letterbox(picture, 200), stretch(picture, 200)):
        x, y = placement.forward(np.array([column + 0.5, row + 0.5]))
        assert square[int(y), int(x)].min() > 200


def test_the_long_side_fills_and_the_rest_is_grey() -> None:
    square, placement = letterbox(np.full((50, 100, 3), 9, np.uint8), 64)
    assert placement.inner == (0, 16, 64, 48)
    assert (square[16:48] == 9).all()
    assert (square[:16] == PADDING).all()
    assert (square[48:] == PADDING).all()
    assert square.flags.c_contiguous


def test_a_window_is_cut_out_before_it_is_resized() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[10:20, 10:20] = 200
    square, placement = letterbox(picture, 32, window=(10, 10, 20, 20))
    assert (square == 200).all()
    assert placement.backward(np.array([16.0, 16.0])).tolist() == [15.0, 15.0]


def test_a_stretched_panorama_is_averaged_where_it_shrinks() -> None:
    stripes = np.zeros((10, 4000, 3), np.uint8)
    stripes[:, ::2] = 255
    square, _ = stretch(stripes, 64)
    assert square.shape == (64, 64, 3)
    assert np.abs(square.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("size", [(3000, 4000), (3001, 3999), (1500, 2000), (100, 4096)])
def test_averaging_keeps_a_thin_line_of_a_big_picture(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    for k in range(6):
        picture[k - 3 + np.arange(size[0] // 2), np.arange(size[0] // 2) + 10] = 255
    square, placement = letterbox(picture, 640)
    scale = placement.side / max(size)
    share = 6 * (size[0] // 2) / picture[..., 0].size * (scale * max(size) / 640) ** 2
    covered = square[placement.inner[1] : placement.inner[3]].mean() / 255
    assert covered == pytest.approx(share, rel=0.05)


def test_float32_coordinates_stay_float32() -> None:
    placement = Placement(window=(0, 0, 3, 3), inner=(0, 0, 7, 7), side=7)
    assert placement.forward(np.ones((2, 5, 2), np.float32)).dtype == np.float32
    assert placement.backward(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert placement.forward(np.ones(2, np.int64)).dtype == np.float64


@pytest.mark.parametrize("window", [(0, 0, 0, 5), (0, 0, 11, 5), (-1, 0, 5, 5), (5, 5, 2, 7)])
def test_a_window_outside_of_the_picture_is_a_bug(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected xyxy inside 10 x 10"):
        letterbox(np.zeros((10, 10, 3), np.uint8), 32, window=window)


def test_a_grey_or_float_picture_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(h, w, 3\)"):
        stretch(np.zeros((10, 10), np.uint8), 32)


@settings(max_examples=100, deadline=None)
@given(placements())
def test_restored_maps_hold_what_the_input_held(placement: Placement) -> None:
    # a map whose value is the input's own x (and y) coordinate at the cell's centre
    cells = placement.side // 4
    centres = ((np.arange(cells) + 0.5) * placement.side / cells).astype(np.float32)
    for axis, values in enumerate(np.meshgrid(centres, centres)):
        restored = placement.restore(values)
        x0, y0, x1, y1 = placement.window
        assert restored.shape == (y1 - y0, x1 - x0)
        grid = np.stack(np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5), -1)
        wanted = placement.forward(grid)[..., axis].clip(centres[0], centres[-1])
        assert np.allclose(restored, wanted, atol=1e-2)


def test_a_region_is_a_piece_of_the_restored_map() -> None:
    picture = np.zeros((90, 120, 3), np.uint8)
    _, placement = letterbox(picture, 64, window=(20, 10, 100, 80))
    values = np.random.default_rng(0).random((16, 16), np.float32)
    whole = placement.restore(values)
    piece = placement.restore(values, region=(30, 20, 55, 41))
    assert np.array_equal(piece, whole[10:31, 10:35])


def test_a_map_of_one_cell_is_constant() -> None:
    placement = Placement(window=(0, 0, 5, 4), inner=(0, 0, 8, 8), side=8)
    assert (placement.restore(np.full((1, 1), 0.5, np.float32)) == 0.5).all()
