from __future__ import annotations

import numpy as np
import pytest

from markcut.arrow import find_arrow, has_head
from tests.markcut.drawn import strokes

SHAPE = (900, 900)
SHAFT = [(150, 700), (420, 380), (700, 200)]


def head(tip: tuple[float, float], heading: float, length: float) -> list[tuple[float, float]]:
    """Two barbs at a tip, as one stroke."""
    back = [heading + np.pi + side * 0.5 for side in (-1, 1)]
    x, y = tip
    ends = [(x + length * np.cos(angle), y + length * np.sin(angle)) for angle in back]
    return [ends[0], tip, ends[1]]


@pytest.mark.parametrize("width", [3, 10, 30])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_arrow_has_a_head_and_its_shaft_alone_has_none(width: int, backwards: bool) -> None:
    shaft = SHAFT[::-1] if backwards else SHAFT
    (x0, y0), (x1, y1) = shaft[-2:]
    barbs = head((x1, y1), float(np.arctan2(y1 - y0, x1 - x0)), 170)
    arrow = strokes(SHAPE, [shaft, barbs], width)
    assert has_head(arrow) is True
    assert np.hypot(*(find_arrow(arrow).tip - (x1, y1))) < 2 * width
    assert has_head(strokes(SHAPE, [shaft], width)) is False


def test_a_wavy_line_has_no_head() -> None:
    x = np.linspace(60, 840, 60)
    wave = list(zip(x.tolist(), (450 + 12 * np.sin(x / 60)).tolist(), strict=True))
    assert has_head(strokes(SHAPE, [wave], 9)) is not True


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 12)])
def test_specks_tell_nothing(shape: tuple[int, int]) -> None:
    assert has_head(np.ones(shape, np.bool_)) is None
