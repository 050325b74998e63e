from __future__ import annotations

import numpy as np
import pytest

from export.fidelity.pixels import _compared, _Ours
from export.fidelity.records import MARKS_FOUND, MASKS
from export.fidelity.upstream import YoloSaid

MASK = np.ones((100, 100), np.bool_)
SETTINGS = {"threshold": 0.1, "iou": 0.6, "size": (100, 100)}


def said(score: float, *box: float) -> _Ours:
    return _Ours(1, score, np.array(box, np.float32), MASK, ~MASK)


@pytest.mark.parametrize(
    ("alone", "share"),
    [
        (said(0.5, 60, 60, 90, 90), 0.5),  # nothing explains it
        (said(0.105, 60, 60, 90, 90), 1.0),  # hardly above the threshold
        (said(0.5, 0, 0, 50, 30.5), 1.0),  # IoU 0.61 with a better one, suppressed from 0.6 on
        (said(0.5, 0, 0, 50, 25), 0.5),  # IoU 0.5: neither would suppress it
        (said(0.95, 0, 0, 50, 30.5), 0.5),  # better than what it overlaps
    ],
)
def test_what_one_alone_found_counts_unless_rounding_decides(alone: _Ours, share: float) -> None:
    both = said(0.9, 0, 0, 50, 50)
    for got, wanted in (([both, alone], [both]), ([both], [both, alone])):
        findings = _compared(got, wanted, "p", "tensor", "", **SETTINGS)
        (found,) = [one for one in findings if one.output == MARKS_FOUND]
        assert found.iou == pytest.approx(share)


def test_pixels_that_rounding_decides_are_no_difference() -> None:
    theirs = MASK.copy()
    theirs[0, :50] = False
    box = np.array([0, 0, 100, 100], np.float32)
    for unsure, iou in ((~theirs, 1.0), (~MASK, 0.995)):
        ours = _Ours(1, 0.9, box, MASK, unsure)
        findings = _compared([ours], [YoloSaid(1, 0.9, box, theirs)], "p", "tensor", "", **SETTINGS)
        (found,) = [one for one in findings if one.output == MASKS]
        assert found.iou == pytest.approx(iou)
