from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from markcut.ink_clues import InkClues, InkJudge

RNG = np.random.default_rng(0)
RED = (220, 30, 40)
SHAPE = (300, 400)


def bar(height: int, width: int) -> NDArray[np.bool_]:
    return np.ones((height, width), np.bool_)


def judged(picture: NDArray[np.uint8], ink: NDArray[np.bool_], origin: tuple[int, int]) -> InkClues:
    return InkJudge(picture).clues(ink, origin)


def drawn(
    ground: NDArray[np.uint8], ink: NDArray[np.bool_], origin: tuple[int, int]
) -> NDArray[np.uint8]:
    picture = ground.copy()
    x, y = origin
    picture[y : y + ink.shape[0], x : x + ink.shape[1]][ink] = RED
    return picture


def noise(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)


def grey(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    return np.full((*shape, 3), 128, np.uint8)


@pytest.mark.parametrize("side", [7, 60, 900])
def test_one_colour_spreads_little_and_a_photo_much(side: int) -> None:
    picture = noise((side + 40, side + 40))
    ink = np.eye(side, dtype=np.bool_)
    ink[side // 2] = True
    rough = judged(picture, ink, (20, 20)).spread
    picture = drawn(picture, ink, (20, 20))
    assert judged(picture, ink, (20, 20)).spread < 0.5 * rough
    assert judged(picture, ink[:3, :3], (20, 20)).spread == pytest.approx(0, abs=1e-3)


def test_a_soft_rim_is_not_the_ink() -> None:
    picture = np.full((60, 60, 3), 255, np.uint8)
    ink = np.zeros((20, 40), np.bool_)
    ink[5:15, 5:35] = True
    picture[10:30, 10:50][ink] = (240, 140, 150)
    picture[16:24, 16:44] = RED
    assert judged(picture, ink, (10, 10)).spread == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("times", [1, 4])
def test_sizes_are_shares_of_the_picture(times: int) -> None:
    ink = bar(10 * times, 100 * times)
    found = judged(grey((300 * times, 400 * times)), ink, (50, 50))
    assert found.extent == pytest.approx(0.25)
    assert found.width == pytest.approx(10 / 400, rel=0.15)
    assert found.aspect == pytest.approx(10)
    assert found.fill == 1


def test_calm_and_busy_surroundings() -> None:
    ink = bar(8, 120)
    calm, busy = (
        judged(drawn(ground, ink, (90, 90)), ink, (90, 90)) for ground in (grey(), noise())
    )
    assert calm.surroundings == pytest.approx(0, abs=1e-3)
    assert busy.surroundings > 30
    assert calm.chroma == pytest.approx(busy.chroma)
    assert calm.chroma > 60


def test_a_colour_that_the_picture_has_elsewhere_is_not_rare() -> None:
    ink = bar(8, 120)
    lonely = drawn(grey(), ink, (90, 90))
    common = lonely.copy()
    common[200:] = RED
    assert judged(lonely, ink, (90, 90)).rarity == 0
    assert judged(common, ink, (90, 90)).rarity == pytest.approx(1 / 3, abs=0.05)


def test_what_touches_the_border() -> None:
    ink = bar(8, 120)
    assert judged(grey(), ink, (0, 90)).border
    assert judged(grey(), ink, (280, 90)).border
    assert not judged(grey(), ink, (90, 90)).border


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (2000, 3)])
def test_ink_that_is_the_whole_picture(shape: tuple[int, int]) -> None:
    found = judged(noise(shape), bar(*shape), (0, 0))
    assert all(np.isfinite(value) for value in vars(found).values())
    assert found.surroundings == 0
    assert found.rarity == 1
