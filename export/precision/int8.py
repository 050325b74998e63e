"""An fp32 graph -> the same graph with its products in int8, spelled with quantisation nodes.

Symmetric int8 throughout, since TensorRT takes nothing else: activations with one scale for each
tensor, weights with one for each output channel, biases in fp32. Only products with a constant
weight are quantised; products of two activations (attention) are few and sensitive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.precision.typed import replace

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_FLOAT = 1  # of onnx.TensorProto
_LEAST = 1024  # weights: smaller products are not worth the quantisation around them


def quantisable(model: Any) -> dict[str, str]:
    """Nodes that int8 is for, in their order: the node's name -> the tensor it multiplies."""
    weights = {i.name: i for i in model.graph.initializer if i.data_type == _FLOAT}
    return {
        node.name: node.input[0]
        for node in model.graph.node
        if node.op_type in _PRODUCTS
        and node.input[0] not in weights
        and node.input[1] in weights
        and _suits(node, weights[node.input[1]])
    }


def quantised(model: Any, ranges: Mapping[str, float], *, keep: Collection[str] = ()) -> Any:
    """``model`` with its :func:`quantisable` nodes in int8, but for those of ``keep``.

    ``ranges`` says for every tensor that such a node multiplies which magnitude 127 stands for.
    """
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    chosen = {name for name in quantisable(copy) if name not in keep}
    weights = {i.name: i for i in copy.graph.initializer}
    stored: dict[str, NDArray[Any]] = {}
    nodes: list[Any] = []

    def quantise(tensor: str) -> str:
        """The tensor in int8, the first time it is asked for."""
        name = f"{tensor}.int8"
        if name not in stored:
            stored[name] = np.zeros(0)  # made here, not stored
            stored[f"{name}.scale"] = np.array(ranges[tensor] / 127, np.float32)
            stored[f"{name}.zero"] = np.zeros((), np.int8)
            inputs = [tensor, f"{name}.scale", f"{name}.zero"]
            nodes.append(helper.make_node("QuantizeLinear", inputs, [name], name))
        return name

    def narrow(weight: str, axis: int) -> str:
        """The weight in int8 with scales along ``axis``."""
        name = f"{weight}.int8.{axis}"
        if name not in stored:
            values = numpy_helper.to_array(weights[weight])
            stored[name], stored[f"{name}.scale"] = _by_channel(values, axis)
            stored[f"{name}.zero"] = np.zeros(values.shape[axis], np.int8)
        return name

    def widen(name: str, node: Any, axis: int | None = None) -> str:
        """``name`` in fp32 again, for ``node`` alone: a shared one keeps runtimes from fusing."""
        target = f"{name}.fp32.{node.name}"
        inputs = [name, f"{name}.scale", f"{name}.zero"]
        wide = helper.make_node("DequantizeLinear", inputs, [target], target)
        if axis is not None:
            wide.attribute.append(helper.make_attribute("axis", axis))
        nodes.append(wide)
        return target

    for node in copy.graph.node:
        if node.name in chosen:
            axis = _channel_axis(node, weights[node.input[1]])
            node.input[0] = widen(quantise(node.input[0]), node)
            node.input[1] = widen(narrow(node.input[1], axis), node, axis=axis)
        nodes.append(node)
    replace(copy.graph.node, nodes)
    used = {name for node in nodes for name in node.input}
    made = {name for node in nodes for name in node.output}
    every = {i.name: i for i in copy.graph.initializer}
    every |= {name: numpy_helper.from_array(values, name) for name, values in stored.items()}
    replace(copy.graph.initializer, [i for n, i in every.items() if n in used and n not in made])
    del copy.graph.value_info[:]
    return copy


def _suits(node: Any, weight: Any) -> bool:
    # a stack of matrices has no channels that every runtime could give a scale of their own
    matrix = node.op_type == "Conv" or len(weight.dims) == 2
    return matrix and int(np.prod(weight.dims)) >= _LEAST


def _channel_axis(node: Any, weight: Any) -> int:
    """Along which axis of its weight a product's output channels lie."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    return len(weight.dims) - 1


def _by_channel(
    values: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = (np.abs(values).max(axis=others) / 127).astype(np.float32)
    scales[scales == 0] = 1
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    rounded = np.rint(values / scales.reshape(shape))
    return np.clip(rounded, -127, 127).astype(np.int8), scales
