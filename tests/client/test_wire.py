from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from markcut import contracts
from markcut_client import wire
from markcut_client.errors import AnswerError


def plain(tensors: tuple[Any, ...]) -> list[tuple[str, str, tuple[int | str, ...]]]:
    return [(tensor.name, tensor.dtype, tensor.dims) for tensor in tensors]


def test_mirror_equals_the_contract() -> None:
    assert list(wire.MODELS) == list(contracts.ENSEMBLES)
    for name, model in wire.MODELS.items():
        assert model.name == name
        assert plain(model.inputs) == plain(contracts.ENSEMBLES[name].inputs)
        assert plain(model.outputs) == plain(contracts.ENSEMBLES[name].outputs)
    assert wire.KINDS == contracts.KINDS
    assert wire.STAGES == contracts.STAGES


@pytest.mark.parametrize("kinds", [(), ("circle",), ("tick", "other", "dot")])
def test_sound_answers_pass(answer: Callable[..., Any], kinds: tuple[str, ...]) -> None:
    wire.check_answer(answer(40, 60, kinds=kinds))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mark_scores", None, r"mark_scores: the answer holds nothing, expected FP32 \(2\)"),
        ("mark_scores", [0.5, 0.5], "mark_scores: the answer holds list"),
        ("mark_scores", np.zeros(2), r"holds float64 \(2,\), expected FP32"),
        ("mark_scores", np.zeros(3, np.float32), r"holds float32 \(3,\), expected FP32 \(2\)"),
        ("mark_scores", np.full(2, np.nan, np.float32), "NaN or infinity"),
        ("mark_boxes", np.zeros((2, 5), np.float32), r"expected FP32 \(2, 4\)"),
        ("mark_kinds", np.array([0, 7], np.int32), r"holds \[0, 7\], expected indices from 0 to 6"),
        ("point_labels", np.full((2, 3), 2, np.int32), r"point_labels: .*\[2\]"),
        ("point_labels", np.zeros((2, 4), np.int32), r"point_labels: .*expected INT32 \(2, 3\)"),
        ("picture_size", np.array([0, 5], np.int32), "expected a height and a width"),
        ("stage_ms", np.zeros(2, np.float32), r"expected FP32 \(12\)"),
        ("object_reasons", np.array(["a", "b"], object), "holds str elements, expected bytes"),
    ],
)
def test_broken_answers_are_named(
    answer: Callable[..., Any], name: str, value: object, message: str
) -> None:
    outputs = answer(40, 60, kinds=("circle", "dot"))
    if value is None:
        del outputs[name]
    else:
        outputs[name] = value
    with pytest.raises(AnswerError, match=message):
        wire.check_answer(outputs)
