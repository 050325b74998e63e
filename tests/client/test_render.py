from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from markcut_client import Client, Extraction, ParameterError, overlay, sheet


@pytest.fixture
def extraction(transport_with: Any) -> Callable[..., Extraction]:
    def make(width: int, height: int, kinds: tuple[str, ...] = ("circle",)) -> Extraction:
        picture = np.full((height, width, 3), 128, np.uint8)
        return Client(transport_with(kinds=kinds)).extract(picture)

    return make


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((180, 120), (1000, 667)),
        ((1, 1), (1000, 1000)),
        ((1200, 900), (1200, 900)),
        ((4000, 3000), (2400, 1800)),
        ((3000, 20), (2400, 16)),
    ],
)
def test_sizes(extraction: Any, size: tuple[int, int], shown: tuple[int, int]) -> None:
    drawn = overlay(extraction(*size))
    assert (drawn.mode, drawn.size) == ("RGB", shown)


def test_what_is_drawn(extraction: Any) -> None:
    found = extraction(1200, 600, ("circle", "tick"))
    drawn = np.asarray(overlay(found)).astype(int)
    left, right = found
    dimmed = drawn[590, 10]
    assert (dimmed < 128).all()
    y = 300
    inside_left, inside_right = drawn[y + 60, 300], drawn[y + 60, 900]
    assert (inside_left != 128).any()
    assert (inside_left != inside_right).any()  # a colour for every object
    assert not (left.mask & right.mask).any()
    edge = drawn[y, 300 - 185 : 300 - 175]  # the outline crosses here
    assert np.ptp(edge, axis=0).max() > 60
    for mark in (left.mark, right.mark):
        assert np.ptp(drawn[mark.mask], axis=0).min() > 60  # the ink is hatched


def test_no_mark_is_the_picture(extraction: Any) -> None:
    found = extraction(1200, 900, ())
    assert np.array_equal(np.asarray(overlay(found)), found.pixels)


def test_many_marks_and_more_colours_than_the_palette(extraction: Any) -> None:
    drawn = overlay(extraction(900, 120, ("dot",) * 20))
    assert drawn.size == (1000, 133)


def test_side(extraction: Any) -> None:
    assert overlay(extraction(300, 200), side=60).size == (60, 40)
    for side in (0, 1.5, True):
        with pytest.raises(ParameterError, match="side: got"):
            overlay(extraction(30, 20), side=side)


def test_empty_masks_are_left_out(extraction: Any) -> None:
    assert overlay(extraction(2, 2)).size == (1000, 1000)


def test_sheet(extraction: Any) -> None:
    found = [
        extraction(400, 300, ("circle", "dot", "tick")),
        extraction(100, 400),
        extraction(300, 300, ()),
        extraction(2000, 30, ("other",) * 9),
    ]
    drawn = sheet(found)
    assert drawn.mode == "RGB"
    assert drawn.width == 18 + 2 * (640 + 18)
    assert sheet(found, columns=1).width == 18 + 640 + 18
    assert sheet(found[:1], columns=5).width == 18 + 640 + 18
    with pytest.raises(ParameterError, match="got no extraction"):
        sheet([])
