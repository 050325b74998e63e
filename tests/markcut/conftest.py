"""Tiny ONNX models and bundles made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from markcut.bundle import (
    Checkpoint,
    FileEntry,
    Manifest,
    ModelEntry,
    Provenance,
    pack_conds,
)
from markcut.contracts import MODELS, ModelSpec, Tensor

SIZES = {"S": 32, "C": 16, "D": 6}
ELEMENTS = {"UINT8": TensorProto.UINT8, "INT32": TensorProto.INT32, "FP32": TensorProto.FLOAT}


def onnx_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    initializers: Sequence[onnx.TensorProto] = (),
) -> bytes:
    def info(tensor: Tensor) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor.name, ELEMENTS[tensor.dtype], tensor.dims)

    graph = helper.make_graph(
        list(nodes), "tiny", list(map(info, inputs)), list(map(info, outputs)), list(initializers)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def stand_in(spec: ModelSpec) -> bytes:
    """A graph with the inputs and outputs of ``spec``: every output is ones of its shape.

    The batch axis follows the input that has it, so that dynamic sizes really are dynamic.
    """
    # OpenVINO drops inputs that nothing depends on, so the ones are e ** (0 * sum of all inputs)
    nodes = []
    initializers = [onnx.numpy_helper.from_array(np.zeros((), np.float32), "nought")]
    for tensor in spec.inputs:
        floats, total = f"{tensor.name}_f", f"{tensor.name}_t"
        nodes += [
            helper.make_node("Cast", [tensor.name], [floats], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [floats], [total], keepdims=0),
        ]
    nodes += [
        helper.make_node("Sum", [f"{tensor.name}_t" for tensor in spec.inputs], ["sum"]),
        helper.make_node("Mul", ["sum", "nought"], ["zero"]),
        helper.make_node("Exp", ["zero"], ["one"]),
    ]
    for tensor in spec.outputs:
        symbol = tensor.dims[0]
        source = next(t for t in spec.inputs if t.dims[0] == symbol)
        rest = np.array(tensor.dims[1:], np.int64)
        name = tensor.name
        initializers += [onnx.numpy_helper.from_array(rest, f"{name}_rest")]
        nodes += [
            helper.make_node("Shape", [source.name], [f"{name}_batch"], start=0, end=1),
            helper.make_node("Concat", [f"{name}_batch", f"{name}_rest"], [f"{name}_s"], axis=0),
            helper.make_node("Expand", ["one", f"{name}_s"], [f"{name}_e"]),
            helper.make_node("Cast", [f"{name}_e"], [name], to=ELEMENTS[tensor.dtype]),
        ]
    return onnx_model(nodes, spec.inputs, spec.outputs, initializers)


def make_bundle(**changes: Any) -> tuple[Manifest, dict[str, bytes]]:
    """A sound manifest with its files; ``changes`` replaces fields of the manifest."""
    files = {f"{name}.onnx": stand_in(spec.resolve(SIZES)) for name, spec in MODELS.items()}
    conds = np.arange(12, dtype=np.float32).reshape(2, 6)
    files["conds.npy"] = pack_conds(conds)
    fields: Mapping[str, Any] = {
        "name": "tiny",
        "models": {
            name: ModelEntry.of(f"{name}.onnx", files[f"{name}.onnx"], precision="fp32")
            for name in MODELS
        },
        "conds": FileEntry.of("conds.npy", files["conds.npy"]),
        "sizes": SIZES,
        "prompts": ("annotated", "a drawn circle"),
        "defaults": {"mark_threshold": 0.25, "heat_threshold": 0.5, "points_per_mark": 3.0},
        "provenance": Provenance(
            checkpoints={"clipseg": Checkpoint(name="tiny", sha256="0" * 64)},
            tools={"torch": "2.0"},
            opset=17,
        ),
        "licence": "AGPL-3.0",
        "verification": {"clipseg.heatmap": 1e-5},
    }
    return Manifest(**{**fields, **changes}), files


@pytest.fixture(scope="session")
def tiny_bundle() -> tuple[Manifest, dict[str, bytes]]:
    return make_bundle()
