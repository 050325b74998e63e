from __future__ import annotations

import numpy as np
import pytest

from export.fidelity.pixels import _compared
from export.fidelity.records import MARKS_FOUND
from export.fidelity.upstream import YoloSaid

MASK = np.ones((100, 100), np.bool_)


def said(score: float, *box: float) -> YoloSaid:
    return YoloSaid(1, score, np.array(box, np.float32), MASK)


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
def test_what_one_alone_found_counts_unless_rounding_decides(alone: YoloSaid, share: float) -> None:
    both = said(0.9, 0, 0, 50, 50)
    for got, wanted in (([both, alone], [both]), ([both], [both, alone])):
        findings = _compared(
            got, wanted, "p", "tensor", "", threshold=0.1, iou=0.6, size=(100, 100)
        )
        (found,) = [one for one in findings if one.output == MARKS_FOUND]
        assert found.iou == pytest.approx(share)
