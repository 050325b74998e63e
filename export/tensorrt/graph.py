"""A bundle's graph as TensorRT gets it, and as its answers are checked.

The bundle keeps one graph for every runtime. What an old TensorRT does not take is spelled out
here, and nothing but that: weights that are stored in 16 bit are unfolded into what they are used
as, and below 8.6 a layer norm becomes its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.errors import ExportError
from export.tensorrt.support import Support

SPELLED_OUT = ".layer_norm."
"""Stands in the names of nodes that a layer norm became."""

_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_FLOAT, _HALF, _BFLOAT = 1, 10, 16  # of onnx.TensorProto


def prepared(onnx: bytes, support: Support) -> Any:
    """The ``onnx.ModelProto`` that this generation of TensorRT shall parse."""
    model = parsed(onnx)
    _unfold_weights(model)
    if "LayerNormalization" not in support.operators:
        _spell_out_layer_norms(model)
    return model


def precision_of(model: Any) -> str:
    """What a graph's products compute in: int8 (by Q/DQ), bf16, fp16 or fp32, the narrowest."""
    from export.tensorrt.check import element_types

    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        return "int8"
    kinds = element_types(model)
    found = {kinds.get(n.output[0]) for n in model.graph.node if n.op_type in _PRODUCTS}
    if "BFLOAT16" in found:
        return "bf16"
    return "fp16" if "FLOAT16" in found else "fp32"


def lifted(onnx: bytes) -> bytes:
    """The same graph and the same weights with every 16-bit type widened to fp32.

    What an engine is compared with: it holds all of the 16-bit arithmetic's error against it.
    """
    from onnx import numpy_helper

    model = parsed(onnx)
    wide = {_HALF, _BFLOAT}
    for tensor in model.graph.initializer:
        if tensor.data_type in wide:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in wide:
                attribute.i = _FLOAT
            elif attribute.HasField("t") and attribute.t.data_type in wide:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def parsed(onnx: bytes) -> Any:
    """The ``onnx.ModelProto`` of a bundle's verified bytes."""
    from onnx import load_from_string

    return load_from_string(onnx)


def _unfold_weights(model: Any) -> None:
    """fp16 weights with a cast to fp32 behind them become fp32 weights: the same arithmetic."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept, used = [], set()
    for node in model.graph.node:
        weight = stored.get(node.input[0]) if node.op_type == "Cast" else None
        to = next((a.i for a in node.attribute if a.name == "to"), 0)
        if weight is None or weight.data_type != _HALF or to != _FLOAT:
            kept.append(node)
            used.update(node.input)
            continue
        values = numpy_helper.to_array(weight).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    if len(kept) == len(model.graph.node):
        return
    replaced = [tensor for tensor in stored.values() if tensor.name not in used]
    for tensor in replaced:
        model.graph.initializer.remove(tensor)
    nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _spell_out_layer_norms(model: Any) -> None:
    """Every LayerNormalization over the last axis as mean, variance and scaling, in fp32."""
    from onnx import helper

    from export.tensorrt.check import element_types

    kinds = element_types(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "LayerNormalization":
            nodes.append(type(node).FromString(node.SerializeToString()))
            continue
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if values.get("axis", -1) != -1 or len(node.output) > 1:
            raise ExportError(
                f"LayerNormalization {node.name!r}: it is not over the last axis alone, which this "
                "TensorRT cannot be given; export the bundle again"
            )
        narrow = kinds.get(node.input[0]) == "FLOAT16"
        nodes += _layer_norm(model, node, epsilon=values.get("epsilon", 1e-5), narrow=narrow)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _layer_norm(model: Any, node: Any, *, epsilon: float, narrow: bool) -> list[Any]:
    from onnx import helper, numpy_helper

    base = f"{node.name or node.output[0]}{SPELLED_OUT}"
    made: list[Any] = []

    def step(operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        output = name or f"{base}{len(made)}"
        held = f"{base}{operator}{len(made)}"
        made.append(helper.make_node(operator, inputs, [output], held, **attributes))
        return output

    def wide(tensor: str) -> str:
        return step("Cast", [tensor], to=_FLOAT) if narrow else tensor

    small = f"{base}epsilon"
    value = np.array(epsilon, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(value, small))
    x = wide(node.input[0])
    centred = step("Sub", [x, step("ReduceMean", [x], axes=[-1], keepdims=1)])
    squares = step("Mul", [centred, centred])
    variance = step("ReduceMean", [squares], axes=[-1], keepdims=1)
    deviation = step("Sqrt", [step("Add", [variance, small])])
    scaled = step("Div", [centred, deviation])
    biased = len(node.input) > 2 and bool(node.input[2])
    last = "" if biased or narrow else node.output[0]
    result = step("Mul", [scaled, wide(node.input[1])], last)
    if biased:
        result = step("Add", [result, wide(node.input[2])], "" if narrow else node.output[0])
    if narrow:
        step("Cast", [result], node.output[0], to=_HALF)
    return made
