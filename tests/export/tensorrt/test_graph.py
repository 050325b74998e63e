from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.tensorrt.check import refused, shape_arithmetic
from export.tensorrt.graph import lifted, parsed, precision_of, prepared
from export.tensorrt.support import SUPPORT, support_of
from markcut.contracts import MODELS

DEMO = Path(__file__).parents[3] / "artifacts" / "demo"
NEW, OLD = SUPPORT["8.6"], SUPPORT["8.5"]


def model(
    nodes: list[Any], weights: dict[str, Any], *, kind: int = TensorProto.FLOAT, opset: int = 17
) -> bytes:
    """A graph from ``x`` to ``y``, both (B, 4) of ``kind``."""
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    ends = [helper.make_tensor_value_info(n, kind, ["B", 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


def answer(data: bytes | Any, x: Any) -> Any:
    held = data if isinstance(data, bytes) else data.SerializeToString()
    session = onnxruntime.InferenceSession(held, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return y


def layer_norm(kind: int, *, bias: bool = True, axis: int = -1, dtype: Any = np.float32) -> bytes:
    inputs = ["x", "scale", *(["bias"] if bias else [])]
    weights = {"scale": np.array([1, 2, 0.5, -1], dtype), "bias": np.arange(4).astype(dtype)}
    if not bias:
        del weights["bias"]
    node = helper.make_node("LayerNormalization", inputs, ["y"], "norm", axis=axis, epsilon=1e-6)
    return model([node], weights, kind=kind)


@pytest.fixture(scope="module", params=sorted(MODELS))
def graph(request: pytest.FixtureRequest) -> bytes:
    path = DEMO / f"{request.param}.onnx"
    if not path.exists():
        pytest.skip("the demo bundle is not here")
    return path.read_bytes()


@pytest.mark.parametrize("name", SUPPORT)
def test_every_tensorrt_takes_the_demo_graphs(graph: bytes, name: str) -> None:
    assert refused(prepared(graph, SUPPORT[name]), SUPPORT[name]) == []


def test_nothing_but_layer_norms_keeps_the_demo_graphs_from_the_oldest(graph: bytes) -> None:
    assert {problem.operator for problem in refused(parsed(graph), OLD)} <= {"LayerNormalization"}


def test_the_demo_graphs_compute_no_shapes(graph: bytes) -> None:
    assert shape_arithmetic(parsed(graph)) == []
    assert shape_arithmetic(prepared(graph, OLD)) == []


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_the_graphs_of_the_other_precisions_are_taken_as_well(graph: bytes, precision: str) -> None:
    from export.precision.int8 import quantisable, quantised
    from export.precision.typed import plain, typed

    wide = plain(parsed(graph))
    if precision == "int8":
        converted = quantised(wide, dict.fromkeys(quantisable(wide).values(), 3.0))
    else:
        converted = typed(wide, precision).model
    assert precision_of(converted) == precision
    assert shape_arithmetic(converted) == []
    for support in SUPPORT.values():
        problems = refused(prepared(converted.SerializeToString(), support), support)
        if precision == "bf16" and support in (OLD, NEW):
            assert {"BFLOAT16" in str(problem) for problem in problems} == {True}
        else:
            assert problems == []


def test_generations() -> None:
    ages = {(8, 5): "8.5", (8, 6): "8.6", (9, 2): "8.6", (10, 3): "10", (10, 16): "10.6"}
    for age, name in {**ages, (11, 4): "11"}.items():
        assert support_of(age).name == name
    assert "LayerNormalization" not in OLD.operators
    assert SUPPORT["10"].operators["Add"] > SUPPORT["10"].operators["MatMul"]


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_norm_that_is_spelled_out_computes_the_same(bias: bool) -> None:
    data = layer_norm(TensorProto.FLOAT, bias=bias)
    spelled = prepared(data, OLD)
    assert "LayerNormalization" not in {node.op_type for node in spelled.graph.node}
    x = np.random.default_rng(0).normal(3, 50, (5, 4)).astype(np.float32)
    assert np.allclose(answer(data, x), answer(spelled, x), rtol=1e-5, atol=1e-5)
    assert prepared(data, NEW).graph.node[0].op_type == "LayerNormalization"


def test_a_layer_norm_in_16_bit_is_spelled_out_in_32(tmp_path: Path) -> None:
    data = layer_norm(TensorProto.FLOAT16, dtype=np.float16)
    spelled = prepared(data, OLD)
    onnx.checker.check_model(spelled, full_check=True)
    x = np.array([[300, -300, 200, 100]], np.float16)  # whose squares 16 bit cannot hold
    assert np.isfinite(answer(spelled, x)).all()
    assert np.allclose(answer(data, x), answer(spelled, x), atol=2e-3)


def test_a_layer_norm_over_more_axes_is_refused() -> None:
    with pytest.raises(ExportError, match="'norm': it is not over the last axis alone"):
        prepared(layer_norm(TensorProto.FLOAT, axis=0), OLD)


def test_weights_stored_in_16_bit_are_unfolded() -> None:
    nodes = [
        helper.make_node("Cast", ["w16"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    data = model(nodes, {"w16": np.eye(4, dtype=np.float16) * 3})
    ready = prepared(data, NEW)
    assert [node.op_type for node in ready.graph.node] == ["MatMul"]
    assert [tensor.name for tensor in ready.graph.initializer] == ["w"]
    x = np.ones((2, 4), np.float32)
    assert np.array_equal(answer(ready, x), answer(data, x))


def typed(kind: int, dtype: Any) -> bytes:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=kind),
        helper.make_node("MatMul", ["h", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    return model(nodes, {"w": (np.eye(4) / 3).astype(dtype)})


def test_a_graphs_precision_is_what_its_products_are_typed_in() -> None:
    import ml_dtypes

    assert precision_of(parsed(typed(TensorProto.FLOAT, np.float32))) == "fp32"
    assert precision_of(parsed(typed(TensorProto.FLOAT16, np.float16))) == "fp16"
    assert precision_of(parsed(typed(TensorProto.BFLOAT16, ml_dtypes.bfloat16))) == "bf16"


def test_the_reference_is_the_graph_in_fp32() -> None:
    data = typed(TensorProto.FLOAT16, np.float16)
    wide = lifted(data)
    assert precision_of(parsed(wide)) == "fp32"
    x = np.full((1, 4), 70000, np.float32)  # beyond 16 bit
    assert np.allclose(answer(wide, x), 70000 * np.float32(np.float16(1 / 3)))


def refusals(nodes: list[Any], weights: dict[str, Any], **options: Any) -> list[str]:
    return [str(problem) for problem in refused(parsed(model(nodes, weights, **options)), NEW)]


def test_what_a_parser_refuses_is_named_by_its_node() -> None:
    found = refusals([helper.make_node("Det", ["m"], ["d"], "det"),
                      helper.make_node("Add", ["x", "d"], ["y"])],
                     {"m": np.eye(2, dtype=np.float32)})  # fmt: skip
    assert found == ["Det 'det': TensorRT 8.6 does not have this operator"]
    (found_type,) = refusals([helper.make_node("Softmax", ["x"], ["y"], "s")], {},
                             kind=TensorProto.DOUBLE, opset=13) or ["narrowed"]  # fmt: skip
    assert found_type == "narrowed"  # the parser makes FLOAT of it
    cast = [helper.make_node("Cast", ["x"], ["y"], "c", to=TensorProto.BFLOAT16)]
    ends = refused(parsed(_to_bfloat(cast)), NEW)
    assert "BFLOAT16, expected one of" in str(ends[0])
    (opset,) = refusals([helper.make_node("Relu", ["x"], ["y"])], {}, opset=18)
    assert opset == "graph '': opset 18, expected at most 17"


def _to_bfloat(nodes: list[Any]) -> bytes:
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 4]),
        helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["B", 4]),
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_quantisation_must_be_symmetric() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "dequantise"),
    ]
    scale = np.array(0.1, np.float32)
    assert refusals(nodes, {"s": scale, "z": np.array(0, np.int8)}) == []
    assert len(refusals(nodes, {"s": scale, "z": np.array(3, np.int8)})) == 2
    assert "UINT8, expected one of INT8" in refusals(nodes, {"s": scale, "z": np.uint8(0)})[0]


def test_shapes_that_are_computed_are_named() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], "size"),
        helper.make_node("Reshape", ["x", "s"], ["y"], "reshape"),
    ]
    found = [str(problem) for problem in shape_arithmetic(parsed(model(nodes, {})))]
    assert found == [
        "Shape 'size': its output's size or value is a shape",
        "Reshape 'reshape': input 1 is no constant",
    ]
