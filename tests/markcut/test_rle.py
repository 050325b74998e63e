from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from markcut.rle import encode


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    st.tuples(st.integers(0, 16), st.integers(0, 16)),
    st.tuples(st.integers(-5, 15), st.integers(-5, 15)),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    st.integers(0, 999),
)
def test_a_patch_is_encoded_as_the_whole_mask_would_be(
    size: tuple[int, int], patch_size: tuple[int, int], origin: tuple[int, int], share: float,
    seed: int,
) -> None:  # fmt: skip
    height, width = size
    patch = np.random.default_rng(seed).random(patch_size) < share
    roomy = np.zeros((height + 50, width + 50), np.uint8)
    x, y = origin
    roomy[20 + y : 20 + y + patch_size[0], 20 + x : 20 + x + patch_size[1]] = patch
    whole = np.asfortranarray(roomy[20 : 20 + height, 20 : 20 + width])
    counts = encode(patch, origin, height=height, width=width)
    assert type(counts) is bytes
    assert counts == coco.encode(whole)["counts"]
