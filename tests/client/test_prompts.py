from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from markcut_client import ParameterError
from markcut_client.prompts import prompt_inputs

NAN = float("nan")


def inputs(**given: Any) -> dict[str, Any]:
    arrays = prompt_inputs(
        **{"points": None, "labels": None, "boxes": None, "earlier": None, **given}
    )
    dtypes = {"point_labels": np.int32}
    assert all(array.dtype == dtypes.get(name, np.float32) for name, array in arrays.items())
    assert len({len(array) for array in arrays.values()}) == 1
    return arrays


@pytest.mark.parametrize(
    ("points", "coords"),
    [
        ((1, 2), [[[1, 2]]]),
        ([(1, 2), (3, 4)], [[[1, 2], [3, 4]]]),
        (np.array([[1, 2], [3, 4]], np.int64), [[[1, 2], [3, 4]]]),
        ([[(1, 2)], [(3, 4)]], [[[1, 2]], [[3, 4]]]),
        (np.array([[[1, 2]], [[3, 4]]]), [[[1, 2]], [[3, 4]]]),
        ([[(1, 2), (5, 6)], [(3, 4)]], [[[1, 2], [5, 6]], [[3, 4], [0, 0]]]),
    ],
)
def test_ways_to_write_points(points: Any, coords: Any) -> None:
    arrays = inputs(points=points)
    assert arrays["point_coords"].tolist() == coords
    lengths = (arrays["point_labels"] == 1).sum(axis=1)
    assert set(arrays["point_labels"].ravel().tolist()) <= {1, -1}
    assert lengths.max() == arrays["point_labels"].shape[1]
    assert np.isnan(arrays["boxes"]).all()
    assert arrays["earlier_logits"].shape == (len(coords), 1, 1)


@pytest.mark.parametrize(
    ("points", "labels", "sent"),
    [
        ((1, 2), 1, [[1]]),
        ([(1, 2), (3, 4)], [1, 0], [[1, 0]]),
        ([[(1, 2), (3, 4)], [(5, 6)]], [[1, 0], [1]], [[1, 0], [1, -1]]),
        (np.zeros((2, 2, 2)), np.array([[1, 0], [1, -1]]), [[1, 0], [1, -1]]),
    ],
)
def test_labels(points: Any, labels: Any, sent: Any) -> None:
    assert inputs(points=points, labels=labels)["point_labels"].tolist() == sent


def test_boxes_alone_and_with_points() -> None:
    alone = inputs(boxes=(1, 2, 3, 4))
    assert alone["boxes"].tolist() == [[1, 2, 3, 4]]
    assert alone["point_labels"].tolist() == [[-1]]
    both = inputs(points=[[], [(1, 2)]], labels=[[], [1]], boxes=[(1, 2, 3, 4), None])
    assert both["point_labels"].tolist() == [[-1], [1]]
    assert np.isnan(both["boxes"]).any(axis=1).tolist() == [False, True]
    assert inputs(points=[[]], boxes=[(1, 2, 3, 4)])["point_labels"].tolist() == [[-1]]


def test_background_points_suffice_with_a_box_or_an_earlier_mask() -> None:
    boxed = inputs(points=(1, 2), labels=0, boxes=(1, 2, 3, 4))
    refined = inputs(points=(1, 2), labels=0, earlier=np.ones((4, 4)))
    assert boxed["point_labels"].tolist() == refined["point_labels"].tolist() == [[0]]


def test_earlier() -> None:
    plane = np.ones((4, 4), np.float32)
    one = SimpleNamespace(logits=plane)
    for earlier in (one, plane, [one], plane[None]):
        assert inputs(points=(1, 2), earlier=earlier)["earlier_logits"].shape == (1, 4, 4)
    second = inputs(points=[[(1, 2)], [(3, 4)]], earlier=[None, one])["earlier_logits"]
    assert np.isnan(second[0]).all()
    assert (second[1] == 1).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "prompt: got neither points nor boxes"),
        ({"points": (1, 2, 3)}, r"points: got \(1, 2, 3\), expected numbers \(2,\), \(P, 2\)"),
        ({"points": []}, r"points: got \[\]"),
        ({"points": "1,2"}, "points: got '1,2'"),
        ({"points": 3}, "points: got 3"),
        ({"points": [[(1, 2)], "ab"]}, "points: got"),
        ({"points": (1, NAN)}, "points: got NaN, infinity"),
        ({"points": (1, 2), "labels": 2}, r"labels: got \[2.0\], expected 1 for on the object"),
        ({"points": (1, 2), "labels": [1, 1]}, "labels: got 2 for 1 object, expected one per"),
        ({"points": [[(1, 2)], [(3, 4)]], "labels": [1, 1]}, "labels: got 2 for 1 object, "),
        ({"points": (1, 2), "labels": [1, [1, 0]]}, "labels: got"),
        ({"labels": 1, "boxes": (1, 2, 3, 4)}, "labels: got some, expected points"),
        ({"boxes": (1, 2, 3)}, r"boxes: got \(1, 2, 3\), expected x0, y0, x1, y1"),
        ({"boxes": (3, 2, 1, 4)}, r"got \(3, 2, 1, 4\) for object 0, expected .* x0 < x1 and y0 <"),
        ({"boxes": np.array([[0, 0, 1, 1], [3, 2, 1, 4.5]])},
         r"boxes: got \(3, 2, 1, 4.5\) for object 1, expected x0, y0, x1, y1 with"),
        ({"boxes": [(0, 0, 1, 1), (3, 2)]}, r"boxes: got \(3, 2\) for object 1, expected x0, y0"),
        ({"boxes": (1, 2, 1e9, 4)}, r"got \(1, 2, 1e\+09, 4\) for object 0, .* beyond any picture"),
        ({"boxes": (1, 2, NAN, 4)}, r"got \(1, 2, nan, 4\) for object 0, expected pixels, not NaN"),
        ({"points": (1, 2), "boxes": [NAN] * 4}, "for object 0, expected pixels, not NaN.* None"),
        ({"points": (1, 2), "boxes": np.full((1, 4), NAN)}, "None stands for no box"),
        ({"boxes": "x"}, "boxes: got 'x'"),
        ({"points": (1, 2), "boxes": np.ones((2, 4))}, "boxes: got"),
        ({"points": (1, 2), "boxes": [(0, 0, 1, 1)] * 2}, "got points for 1, boxes for 2 objects"),
        ({"points": [[(1, 2)], None]}, "object 1 has neither a point nor a box"),
        ({"points": (1, 2), "labels": 0}, "object 0: give it a point that is on the object, or a"),
        ({"points": [[(1, 2)], [(3, 4)]], "labels": [[1], [0]], "boxes": [(1, 2, 3, 4), None],
          "earlier": [np.ones((2, 2)), None]}, "object 1: give it a point that is on the object"),
        ({"points": (1, 2), "labels": -1}, "object 0 has neither a point nor a box"),
        ({"points": (1, 2), "earlier": 3}, "earlier: got 3"),
        ({"points": (1, 2), "earlier": np.ones((2, 3), bool)},
         r"earlier: got an array bool \(2, 3\), expected"),
        ({"points": (1, 2), "earlier": np.ones(3)}, r"earlier: got .*\(3,\)"),
        ({"points": (1, 2), "earlier": np.full((2, 2), NAN)}, "earlier: got NaN"),
        ({"points": (1, 2), "earlier": np.full((2, 2), 1e300)}, r"earlier: .* beyond \+-3.4e38"),
        ({"points": [[(1, 2)], [(3, 4)]], "earlier": [np.ones((2, 2)), np.ones((3, 3))]},
         "earlier: got logits of different sizes"),
    ],
)  # fmt: skip
def test_wrong_prompts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        inputs(**given)
