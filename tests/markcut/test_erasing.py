from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from markcut.erasing import without_ink
from markcut.geometry import stretch
from markcut.marks import Mark

SIZES = [(300, 400), (1500, 1100), (96, 640)]


def drawn(height: int, width: int, *, thickness: int) -> tuple[NDArray[np.uint8], Mark]:
    """Two flat halves with a red tick across them."""
    picture = np.full((height, width, 3), 60, np.uint8)
    picture[:, width // 2 :] = 180
    ink = np.zeros((height, width), np.uint8)
    points = np.array([[0.3, 0.5], [0.45, 0.7], [0.75, 0.2]]) * [width, height]
    cv2.polylines(ink, [points.astype(np.int32)], False, 1, thickness)
    picture[ink > 0] = (220, 20, 20)
    rows, columns = ink.nonzero()
    y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    box = np.array([x0, y0, x1, y1], np.float32)
    mark = Mark(5, 1.0, box, ink[y0:y1, x0:x1] > 0, (int(x0), int(y0)))
    return picture, mark


@pytest.mark.parametrize("side", [64, 512, 1024])
@pytest.mark.parametrize("size", SIZES)
def test_ink_goes_and_the_rest_stays(size: tuple[int, int], side: int) -> None:
    height, width = size
    picture, mark = drawn(height, width, thickness=max(2, height // 60))
    view = stretch(picture, side)[0]
    kept = view.copy()
    clean = without_ink(view, [mark], height=height, width=width)
    assert (view == kept).all()  # what was given is not written to
    assert (clean.shape, clean.dtype) == (view.shape, np.uint8)
    red = clean[..., 0].astype(int) - clean[..., 1]
    assert red.max() < 25
    far = cv2.distanceTransform((view[..., 0] - view[..., 1].astype(int) < 25).astype(np.uint8),
                                cv2.DIST_L2, 3) > max(8, side // 40)  # fmt: skip
    assert (clean[far] == view[far]).all()
    again = without_ink(view, [mark], height=height, width=width)
    assert (clean == again).all()


def test_nothing_to_erase_and_nothing_to_paint_with() -> None:
    view = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert without_ink(view, [], height=10, width=10) is view
    whole = Mark(3, 1.0, np.array([0, 0, 10, 10], np.float32), np.ones((10, 10), bool), (0, 0))
    assert (without_ink(view, [whole], height=10, width=10) == view).all()
