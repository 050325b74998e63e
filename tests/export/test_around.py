"""Runners around others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.around import Remembering
from markcut.contracts import YOLO11_SEG, ModelSpec
from markcut.runners import RunnerInfo


class Counting:
    """A runner that adds one, and counts how often."""

    spec: ModelSpec = YOLO11_SEG
    info = RunnerInfo("none", "0", "cpu", "fp32", 1)

    def __init__(self) -> None:
        self.calls = 0
        self.closed = False

    def infer(self, feeds: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
        self.calls += 1
        return {"y": feeds["x"] + 1}

    def close(self) -> None:
        self.closed = True


def test_an_encoder_that_remembers_is_asked_once_about_a_picture() -> None:
    inner = Counting()
    runner = Remembering(inner)
    one, other = np.zeros((1, 4), np.uint8), np.ones((1, 4), np.uint8)
    for picture in (one, other, one.copy(), other):
        np.testing.assert_array_equal(runner.infer({"x": picture})["y"], picture + 1)
    assert inner.calls == 2
    assert (runner.spec, runner.info) == (inner.spec, inner.info)
    runner.close()
    assert inner.closed
