from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from markcut.belief import Clues, belief, colour_spread, heat_at
from markcut.belief_weights import NAMES, Weights, weights
from markcut.contracts import KINDS
from markcut.errors import BundleError

RNG = np.random.default_rng(0)
RED = (220, 30, 40)


WEIGHTS = Weights((0.7, 0.3, 1.4, -0.3), (0.5, -0.9, -0.7, -1.0, -0.1, 0.0, -1.1))
MIDDLING = Clues(kind=3, score=0.5, whole=0.4, heat=0.5, spread=5.0)
DEFAULTS = dict.fromkeys(NAMES, 0.5)


def test_every_clue_counts_in_its_direction() -> None:
    middling = belief(MIDDLING, WEIGHTS)
    assert 0 < middling < 1
    for better in ({"score": 0.6}, {"whole": 0.5}, {"heat": 0.9}, {"spread": 1.0}, {"kind": 0}):
        assert belief(replace(MIDDLING, **better), WEIGHTS) > middling  # type: ignore[arg-type]
    assert belief(replace(MIDDLING, whole=None), WEIGHTS) < middling


def test_without_weights_the_score_is_all_that_counts() -> None:
    assert belief(MIDDLING, None) == 0.5
    assert weights({"mark_threshold": 0.3}) is None


@pytest.mark.parametrize("score", [0.0, 1e-9, 1.0])
@pytest.mark.parametrize("times", [1.0, 1e3, -1e3])
def test_certain_scores_and_wild_weights_stay_finite(score: float, times: float) -> None:
    clues = Clues(3, score, score, 0.0, 1e6)
    wild = Weights(tuple(times * w for w in WEIGHTS.clues), WEIGHTS.kinds)
    assert 0 <= belief(clues, wild) <= 1
    assert 0 < belief(clues, WEIGHTS) < 1


def test_a_bundle_has_all_weights_or_none() -> None:
    found = weights({**DEFAULTS, "belief_dot": 2.0, "mark_threshold": 0.3})
    assert found is not None
    assert found.clues == (0.5,) * 4
    assert found.kinds[KINDS.index("dot")] == 2.0
    del DEFAULTS["belief_heat"]
    with pytest.raises(BundleError, match="'belief_heat' with them"):
        weights(DEFAULTS)


def test_heat_is_looked_up_where_the_mark_is() -> None:
    heat = np.zeros((352, 352), np.float32)
    heat[176, 88] = 0.8
    heat[0, 0] = np.nan
    there, elsewhere = np.array([[240, 140, 260, 160], [600, 20, 900, 60]], np.float32)
    assert heat_at(heat, there, height=300, width=1000) == pytest.approx(0.8)
    assert heat_at(heat, elsewhere, height=300, width=1000) == 0
    corner = np.array([-5, -5, 2, 2], np.float32)
    assert heat_at(heat, corner, height=300, width=1000) == 0


@pytest.mark.parametrize("side", [7, 60, 900])
def test_one_colour_spreads_little_and_a_photo_much(side: int) -> None:
    picture = RNG.integers(0, 256, (side + 40, side + 40, 3)).astype(np.uint8)
    ink = np.zeros((side, side), np.bool_)
    ink[np.arange(side), np.arange(side)] = True
    ink[side // 2] = True
    rough = colour_spread(picture, ink, (20, 20))
    picture[20 : 20 + side, 20 : 20 + side][ink] = RED
    assert colour_spread(picture, ink, (20, 20)) < 0.5 * rough
    assert colour_spread(picture, ink[:3, :3], (20, 20)) == pytest.approx(0, abs=1e-3)


def test_a_soft_rim_is_not_the_ink() -> None:
    picture = np.full((60, 60, 3), 255, np.uint8)
    ink = np.zeros((20, 40), np.bool_)
    ink[5:15, 5:35] = True
    picture[10:30, 10:50][ink] = (240, 140, 150)
    picture[16:24, 16:44] = RED
    assert colour_spread(picture, ink, (10, 10)) == pytest.approx(0, abs=1e-3)


def test_a_single_pixel() -> None:
    picture = np.zeros((1, 1, 3), np.uint8)
    assert colour_spread(picture, np.ones((1, 1), np.bool_), (0, 0)) == 0
