from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from markcut.belief import Clues, belief, heat_at
from markcut.belief_weights import CLUES, Weights, parse_weights
from markcut.contracts import KINDS
from markcut.errors import BundleError
from markcut.ink_clues import InkClues
from tests.markcut.weighing import SCORE, linear

INK = InkClues(
    extent=0.3, width=0.01, aspect=2.0, fill=0.1, border=False,
    spread=5.0, surroundings=20.0, rarity=0.05, chroma=40.0,
)  # fmt: skip
MIDDLING = Clues(kind=3, score=0.5, whole=0.4, near=0.4, heat=0.5, clear=0.8, ink=INK)
MORE: dict[str, Any] = {
    "score": {"score": 0.6}, "whole": {"whole": 0.5}, "near": {"near": 0.5}, "heat": {"heat": 0.9},
    "clear": {"clear": 0.9}, "dot": {"kind": KINDS.index("dot")},
    **{name: {"ink": replace(INK, **{name: 2 * getattr(INK, name)})} for name in vars(INK)},
    "border": {"ink": replace(INK, border=True)},
}  # fmt: skip


@pytest.mark.parametrize("name", [*CLUES, "dot"])
@pytest.mark.parametrize("count", [0.7, -0.7])
def test_every_clue_counts_as_it_is_weighed(name: str, count: float) -> None:
    middling = replace(MIDDLING, kind=KINDS.index("tick"))
    more = belief(replace(middling, **MORE[name]), linear(**{name: count}))
    assert (more - belief(middling, linear(**{name: count}))) * count > 0


def test_what_no_look_at_the_whole_shows_is_not_likely() -> None:
    weights = linear(whole=0.5)
    assert belief(replace(MIDDLING, whole=None), weights) < belief(MIDDLING, weights)


@pytest.mark.parametrize("score", [0.0, 1e-9, 1.0])
@pytest.mark.parametrize("times", [1.0, 1e3, -1e3])
def test_certain_scores_and_wild_weights_stay_finite(score: float, times: float) -> None:
    ink = replace(INK, spread=1e6, rarity=0.0)
    clues = replace(MIDDLING, score=score, whole=score, near=score, ink=ink)
    assert 0 <= belief(clues, linear(**dict.fromkeys(CLUES, times))) <= 1
    assert 0 < belief(clues, SCORE) < 1


def test_what_was_never_met_counts_like_the_nearest_that_was() -> None:
    wide = linear(chroma=1.0)
    narrow = replace(wide, low=(0.0,) * len(CLUES), high=(2.0,) * len(CLUES))
    grey, red, redder = (replace(MIDDLING, ink=replace(INK, chroma=c)) for c in (0.0, 90.0, 130.0))
    assert belief(grey, narrow) < belief(red, narrow) == belief(redder, narrow)
    assert belief(red, wide) < belief(redder, wide)


def test_weights_pass_through_the_manifest() -> None:
    weights = linear(0.5, score=0.7, dot=2.0)
    assert parse_weights(json.loads(json.dumps(asdict(weights))), "belief") == weights
    assert parse_weights(None, "belief") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clues": ["score"]}, "belief.clues: got"),
        ({"kinds": ["tick"]}, "calibrate the bundle again"),
        ({"units": []}, "belief.units: got [], expected a list of 1 to 256"),
        ({"units": [[1.0]]}, "belief.units[0]: got [1.0], expected a list of 22 numbers"),
        ({"sums": [1.0]}, "belief.sums: got [1.0], expected a list of 3 numbers"),
        ({"low": [1e9] * len(CLUES)}, "belief.low[0]: got 1000000000.0, expected a number from"),
        ({"low": [200.0] * len(CLUES)}, "belief.low[0]: got 200.0, expected at most belief.high"),
        ({"high": "x"}, "belief.high: got"),
        ({"more": 1}, "the unknown key"),
    ],
)
def test_weights_that_are_none(change: dict[str, Any], said: str) -> None:
    raw = json.loads(json.dumps(asdict(SCORE)))
    with pytest.raises(BundleError) as error:
        parse_weights({**raw, **change}, "belief")
    assert said in str(error.value)


def test_the_units_are_rectified() -> None:
    row = (1.0, *(0.0,) * (len(CLUES) + len(KINDS)))
    weights = Weights((-9.0,) * len(CLUES), (9.0,) * len(CLUES), (row,), (2.0, 1.0))
    assert weights.odds((3.0, *(0.0,) * (len(CLUES) - 1)), 0) == pytest.approx(7.0)
    assert weights.odds((-3.0, *(0.0,) * (len(CLUES) - 1)), 0) == pytest.approx(1.0)


def test_heat_is_looked_up_where_the_mark_is() -> None:
    heat = np.zeros((352, 352), np.float32)
    heat[176, 88] = 0.8
    heat[0, 0] = np.nan
    there, elsewhere = np.array([[240, 140, 260, 160], [600, 20, 900, 60]], np.float32)
    assert heat_at(heat, there, height=300, width=1000) == pytest.approx(0.8)
    assert heat_at(heat, elsewhere, height=300, width=1000) == 0
    corner = np.array([-5, -5, 2, 2], np.float32)
    assert heat_at(heat, corner, height=300, width=1000) == 0
