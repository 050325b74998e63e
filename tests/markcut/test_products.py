"""What a graph computes in, read from its bytes and told by the runners."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from markcut.contracts import ModelSpec, Tensor
from markcut.errors import RuntimeUnavailable
from markcut.runners import open_runner
from markcut.runners.products import most, product_precisions
from tests.markcut.conftest import onnx_model

SPEC = ModelSpec("tiny", (Tensor("x", "FP32", ("B", 32)),), (Tensor("y", "FP32", ("B", 32)),))
WEIGHT = np.random.default_rng(0).normal(size=(32, 32))


def graph(kind: str) -> bytes:
    """One product, its weight in ``kind``: "stored" is fp16 behind a cast."""
    if kind in ("fp32", "stored"):
        dtype = np.float16 if kind == "stored" else np.float32
        weights = [onnx.numpy_helper.from_array(WEIGHT.astype(dtype), "w")]
        cast = [helper.make_node("Cast", ["w"], ["w.fp32"], to=TensorProto.FLOAT)]
        used = "w.fp32" if kind == "stored" else "w"
        nodes = [
            *(cast if kind == "stored" else []), helper.make_node("MatMul", ["x", used], ["y"])
        ]  # fmt: skip
    elif kind == "fp16":
        weights = [onnx.numpy_helper.from_array(WEIGHT.astype(np.float16), "w")]
        nodes = [
            helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16),
            helper.make_node("MatMul", ["x16", "w"], ["y16"]),
            helper.make_node("Cast", ["y16"], ["y"], to=TensorProto.FLOAT),
        ]
    else:
        scale = np.float32(np.abs(WEIGHT).max() / 127)
        parts = {"w": np.rint(WEIGHT / scale).astype(np.int8), "scale": scale,
                 "zero": np.int8(0), "step": np.float32(0.03)}  # fmt: skip
        weights = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in parts.items()]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "step", "zero"], ["xq"]),
            helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wq"]),
            helper.make_node("MatMul", ["xq", "wq"], ["y"]),
        ]
    return onnx_model(nodes, SPEC.inputs, SPEC.outputs, weights)


@pytest.mark.parametrize(
    ("kind", "found"), [("fp32", "fp32"), ("stored", "fp32"), ("fp16", "fp16"), ("int8", "int8")]
)
def test_the_type_that_enters_the_product_counts(kind: str, found: str) -> None:
    assert product_precisions(graph(kind)) == Counter({found: 1})
    assert most(product_precisions(graph(kind))) == found


def test_in_an_optimised_graph_a_dequantised_weight_is_fp32() -> None:
    assert product_precisions(graph("int8"), final=True) == Counter({"fp32": 1})
    assert most(Counter()) == "fp32"


@pytest.mark.parametrize("size", [1, 40, 200, -1])
def test_what_is_no_onnx_file_is_told(size: int) -> None:
    data = graph("fp32")[:size]
    with pytest.raises(ValueError, match="no ONNX file"):
        product_precisions(data)
    with pytest.raises(ValueError, match="no ONNX file"):
        product_precisions(b"\xff" * 20)


@pytest.mark.parametrize(
    ("kind", "runtime", "asked"),
    [
        ("stored", "onnxruntime", None),
        ("stored", "onnxruntime", "fp32"),
        ("stored", "openvino", "fp32"),
        ("int8", "onnxruntime", "int8"),
        ("int8", "openvino", "int8"),
        ("int8", "openvino", None),
    ],
)
def test_a_precision_is_read_back(kind: str, runtime: str, asked: str | None) -> None:
    with closing(open_runner(SPEC, graph(kind), runtime=runtime, precision=asked)) as runner:
        assert runner.info.precision == (asked or ("fp32" if kind == "stored" else kind))


@pytest.mark.parametrize(
    ("kind", "runtime", "asked", "message"),
    [
        ("fp32", "onnxruntime", "int8", "this one in fp32 on CPUExecutionProvider"),
        ("stored", "onnxruntime", "fp16", "this one in fp32 on CPUExecutionProvider"),
        ("int8", "onnxruntime", "fp32", "this one in int8 on CPUExecutionProvider"),
        ("fp32", "openvino", "int8", "OpenVINO would use fp32 on this CPU"),
        ("int8", "openvino", "fp32", "OpenVINO would use int8 on this CPU"),
    ],
)
def test_another_precision_than_it_computes_in_is_refused(
    kind: str, runtime: str, asked: str, message: str
) -> None:
    with pytest.raises(RuntimeUnavailable, match=message):
        open_runner(SPEC, graph(kind), runtime=runtime, precision=asked)
