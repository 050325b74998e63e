from __future__ import annotations

import numpy as np
import pytest

from markcut.strokes import stroke_width, without_specks


@pytest.mark.parametrize("width", [4, 8, 21])
def test_width_of_a_long_stroke(width: int) -> None:
    ink = np.zeros((100, 400), np.bool_)
    ink[40 : 40 + width, 10:390] = True
    assert stroke_width(ink) == pytest.approx(width, rel=0.2, abs=1.2)


def test_a_speck_apart_goes_and_near_or_large_pieces_stay() -> None:
    ink = np.zeros((100, 200), np.bool_)
    ink[50:56, 20:150] = True
    stroke = ink.copy()
    stroke[50:56, 152:158] = True  # behind a gap narrower than the pen
    stroke[80:86, 20:60] = True  # a second stroke
    speck = stroke.copy()
    speck[10:13, 180:183] = True
    assert (without_specks(speck) == stroke).all()
    assert (without_specks(stroke) == stroke).all()


def test_the_grain_of_a_pen_stays() -> None:
    ink = np.zeros((100, 200), np.bool_)
    ink[50:56, 20:60] = True
    ink[50:56:3, 70:190:6] = True
    assert (without_specks(ink) == ink).all()


def test_a_single_pixel_and_none() -> None:
    ink = np.zeros((5, 5), np.bool_)
    assert not without_specks(ink).any()
    ink[2, 2] = True
    assert without_specks(ink).sum() == 1
