from __future__ import annotations

import numpy as np
import pytest

from export.fidelity.records import ANSWER, MASKS, PICTURE, TENSOR
from export.fidelity.rounding import decided_iou, undecided
from export.fidelity.sam2 import _masks_of
from export.fidelity.upstream import Sam2Said
from markcut.contracts import SAM2_DECODER

SIDE = 64


def test_what_lies_on_the_threshold_is_undecided() -> None:
    values = np.array([[-20, -0.001, 0.0005, 0.01, 10]], np.float32)
    assert undecided(values).tolist() == [[False, True, True, False, False]]
    heat = np.array([0.9, 0.90005, 0.8], np.float32)
    assert undecided(heat, 0.9).tolist() == [True, True, False]


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.full((2, 2), np.nan)])
def test_a_network_that_says_nothing_is_decided(values: np.ndarray) -> None:
    assert not undecided(values.astype(np.float32)).any()


def test_only_undecided_pixels_are_forgiven() -> None:
    ours, theirs = np.array([True, True, True, False]), np.array([True, True, False, True])
    assert decided_iou(ours, theirs, np.array([False, False, True, True])) == 1.0
    assert decided_iou(ours, theirs, np.array([False, False, True, False])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("level", "iou"), [(TENSOR, 1.0), (PICTURE, 15 / 16)])
def test_one_pixel_of_a_small_mask_is_rounding_only_from_one_tensor(level: str, iou: float) -> None:
    logits = np.full((1, 4, SIDE, SIDE), -10, np.float32)
    logits[..., 20:24, 20:24] = 10
    theirs = logits[0] > 0
    logits[..., 23, 23] = -1e-4  # upstream's sums put it above zero
    none = np.zeros((1, 1), np.float32)
    single, several = (
        Sam2Said(theirs[None, part], logits[:, part], none, none)
        for part in (slice(0, 1), slice(1, 4))
    )
    said = {SAM2_DECODER.outputs[0].name: logits}
    findings = list(
        _masks_of(
            several, single, [theirs[2]], said, np.array([2]), (SIDE, SIDE), "p", "click", level
        )
    )
    assert [one.output for one in findings] == [MASKS] * 4 + [ANSWER]
    assert [one.iou for one in findings] == pytest.approx([iou] * 5)
