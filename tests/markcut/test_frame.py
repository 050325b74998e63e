"""Frames around masks are numpy's pads."""

from __future__ import annotations

import numpy as np
import pytest

from markcut.frame import framed, framed_evenly


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8])
def test_a_frame_is_a_pad(dtype: type) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (7, 9)).astype(dtype)[::2, 1:]
    wanted = np.pad(mask.astype(np.uint8), ((1, 2), (0, 3)))
    np.testing.assert_array_equal(framed(mask, 1, 2, 0, 3), wanted)


def test_an_even_frame_has_its_value() -> None:
    mask = np.zeros((2, 3), np.bool_)
    wanted = np.pad(mask.astype(np.uint8), 2, constant_values=1)
    np.testing.assert_array_equal(framed_evenly(mask, 2, value=1), wanted)
