"""Writing graphs: the contract's interface, weights in 16 bit, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.errors import ExportError
from export.graph import Graph
from export.to_onnx import OPSET, to_onnx
from export.verify import Difference, difference, verify
from markcut.contracts import ModelSpec
from markcut.contracts import Tensor as Spec

SPEC = ModelSpec(
    "little", (Spec("pixels", "FP32", ("B", 64)),), (Spec("answer", "FP32", ("B", 32)),)
)


class Little(nn.Module):
    def __init__(self, *, rounded: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 32)
        if rounded:
            self.layer.weight.data = self.layer.weight.data.half().float()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Loose(Little):
    def forward(self, x: Tensor) -> Tensor:
        chosen = x.abs().sum(1).nonzero().flatten()
        return self.layer(x[chosen])


def make_graph(module: nn.Module, spec: ModelSpec = SPEC) -> Graph:
    def reference(feeds: Any) -> Any:
        return {"answer": module(torch.from_numpy(feeds["pixels"])).numpy()}

    return Graph(spec=spec, module=module, reference=reference, cases=lambda pictures: [])


def test_the_interface_is_the_contracts() -> None:
    model = onnx.load_from_string(to_onnx(make_graph(Little(rounded=True))).data)
    (answer,) = model.graph.output
    assert (model.graph.name, model.graph.input[0].name, answer.name) == (
        "little",
        "pixels",
        "answer",
    )
    assert [d.dim_param or d.dim_value for d in answer.type.tensor_type.shape.dim] == ["B", 32]
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": OPSET}
    assert not model.graph.value_info
    assert not model.doc_string


def test_only_what_16_bit_can_hold_is_stored_in_16_bit() -> None:
    exact = to_onnx(make_graph(Little(rounded=True)), weights_storage="fp16")
    assert (exact.weights, exact.weights_fp16) == (64 * 32 + 32, 64 * 32)
    other = to_onnx(make_graph(Little(rounded=False)), weights_storage="fp16")
    assert (other.weights, other.weights_fp16) == (64 * 32 + 32, 0)
    model = onnx.load_from_string(exact.data)
    kinds = Counter(numpy_helper.to_array(i).dtype.name for i in model.graph.initializer)
    assert kinds == {"float16": 1, "float32": 1}
    feeds = {"pixels": np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)}
    for runtime in ("onnxruntime", "openvino"):
        for graph_file in (exact, other):
            module = Little(rounded=graph_file is exact)
            checked = verify(make_graph(module), graph_file.data, [_case(feeds)], runtime=runtime)
            assert checked.outputs["answer"].max_rel < 1e-6


def test_the_file_is_the_same_every_time() -> None:
    graph = make_graph(Little(rounded=True))
    assert to_onnx(graph).data == to_onnx(graph).data


def test_a_graph_whose_shapes_depend_on_data_is_refused() -> None:
    with pytest.raises(ExportError, match="little: the graph holds NonZero"):
        to_onnx(make_graph(Loose(rounded=True)))


def test_a_graph_that_is_off_is_told() -> None:
    onnx_file = to_onnx(make_graph(Little(rounded=True)))
    other = Little(rounded=True)
    other.layer.bias.data += 0.01
    feeds = {"pixels": np.ones((1, 64), np.float32)}
    checked = verify(make_graph(other), onnx_file.data, [_case(feeds)])
    assert checked.off == ["answer"]
    assert checked.as_json()["outputs"]["answer"]["max_abs"] == pytest.approx(0.01, rel=1e-3)


def test_nothing_to_verify_with_is_no_proof() -> None:
    graph = make_graph(Little(rounded=True))
    with pytest.raises(ExportError, match="no case"):
        verify(graph, to_onnx(graph).data, [])


@pytest.mark.parametrize(
    ("got", "wanted", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], Difference(0.0, 0.0, 1.0)),
        ([1.0, 2.5], [1.0, 2.0], Difference(0.5, 0.25, pytest.approx(0.9965, abs=1e-3))),
        ([np.nan, 2.0], [1.0, 2.0], Difference(np.inf, np.inf, -1.0)),
        ([1.0, 2.0], [1.0, 2.0, 3.0], Difference(np.inf, np.inf, -1.0)),
        ([0.1], [0.0], Difference(pytest.approx(0.1), np.inf, -1.0)),
    ],
)
def test_differences(got: list[float], wanted: list[float], expected: Difference) -> None:
    assert difference(np.array(got, np.float32), np.array(wanted, np.float32)) == expected


def test_another_dtype_is_a_difference() -> None:
    assert difference(np.ones(2, np.int64), np.ones(2, np.int32)).max_rel == np.inf


def _case(feeds: Any) -> Any:
    from export.graph import Case

    return Case("one", feeds)
