"""Graphs are rewritten and checked without their large weights, and come out the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.large_weights import LARGE, give_back_memory, light, slimmed

WIDE = 256  # a square matrix of which is large


def make_model() -> Any:
    """Two large products with a foldable shape between them, and a weight that nobody uses."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(size=(WIDE, WIDE)).astype(np.float32),
        "second": rng.normal(size=(WIDE, WIDE)).astype(np.float32),
        "bias": rng.normal(size=WIDE).astype(np.float32),
        "unused": np.zeros((WIDE, WIDE), np.float32),
        "half": np.array([0, WIDE // 2], np.int64),
        "twice": np.array([1, 2], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Mul", ["half", "twice"], ["shape"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Identity", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], ["d"]),
        helper.make_node("Add", ["d", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "little",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", WIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", WIDE])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_light_model_is_checked_like_the_whole() -> None:
    model = make_model()
    before = model.SerializeToString(deterministic=True)
    thin = light(model)
    onnx.checker.check_model(thin, full_check=True)
    assert thin.ByteSize() < LARGE
    assert [value.name for value in thin.graph.input] == ["x", "first", "second", "unused"]
    assert thin.opset_import[0].version == 17
    assert model.SerializeToString(deterministic=True) == before
    thin.graph.node[0].input[1] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(thin, full_check=True)


def test_slimming_leaves_the_answer_and_drops_the_rest() -> None:
    import onnxruntime as ort

    model = make_model()
    slim = slimmed(model, fold_limit=4096)
    onnx.checker.check_model(slim, full_check=True)
    assert [value.name for value in slim.graph.input] == ["x"]
    kinds = [node.op_type for node in slim.graph.node]
    assert "Identity" not in kinds
    assert "Mul" not in kinds
    assert {w.name for w in slim.graph.initializer} >= {"first", "second"}
    assert "unused" not in {w.name for w in slim.graph.initializer}
    feeds = {"x": np.random.default_rng(1).normal(size=(3, WIDE)).astype(np.float32)}
    answers = [
        ort.InferenceSession(m.SerializeToString()).run(None, feeds)[0] for m in (model, slim)
    ]
    np.testing.assert_array_equal(*answers)


def test_freed_memory_goes_back_and_what_is_held_stays() -> None:
    held = [bytes([number]) * (1 << 20) for number in range(8)]
    del held[::2]
    give_back_memory()
    assert [part[0] for part in held] == [1, 3, 5, 7]
