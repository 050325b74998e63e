from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from markcut_client import AnswerError, Rle

masks = arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))


def encode(mask: np.ndarray) -> Rle:
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return Rle(*mask.shape, counts)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_reads_what_pycocotools_writes(mask: np.ndarray) -> None:
    rle = encode(mask)
    assert np.array_equal(rle.decode(), mask)
    assert rle.area == mask.sum()
    ys, xs = mask.nonzero()
    if rle.area:
        x0, y0 = xs.min(), ys.min()
        assert rle.bbox == (x0, y0, xs.max() - x0 + 1, ys.max() - y0 + 1)
    else:
        assert rle.bbox == (0, 0, 0, 0)


def test_long_runs() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[100:2900, 50:3900] = True
    assert np.array_equal(encode(mask).decode(), mask)


@given(st.binary(max_size=40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=500, deadline=None)
def test_nonsense_is_refused_or_harmless(counts: bytes, height: int, width: int) -> None:
    rle = Rle(height, width, counts)
    try:
        mask = rle.decode()
    except AnswerError:
        return
    assert mask.shape == (height, width)


@pytest.mark.parametrize("counts", [b"", b"P", b"\xff", b"0", b"ooooooooo0", b"11", b"n0"])
def test_broken_run_lengths(counts: bytes) -> None:
    with pytest.raises(AnswerError, match="run lengths"):
        Rle(3, 4, counts).decode()


def test_another_size_is_refused() -> None:
    counts = encode(np.eye(4, dtype=bool)).counts
    with pytest.raises(AnswerError, match="do not fill 5 x 4 pixels"):
        Rle(4, 5, counts).decode()
