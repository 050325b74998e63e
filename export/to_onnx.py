"""A graph's torch module -> the bytes of a checked ONNX file."""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.errors import ExportError
from export.graph import Graph
from export.large_weights import light, slimmed
from markcut.contracts import Tensor

OPSET = 17
"""The oldest opset that keeps a layer norm one operation."""

# operations with control flow or shapes that depend on data: runtimes differ in them, or lack them
_REFUSED = {
    *("If", "Loop", "Scan", "NonMaxSuppression", "NonZero", "Compress", "Unique"),
    *("OneHot", "ScatterElements", "ScatterND"),
}
_FOLD_LIMIT = 4096  # bytes: shapes are folded, constants that are made from small ones are not
_SMALL = 1024  # elements: below this, 16 bit saves nothing
_TRACE_SIZES = {"B": 1, "N": 2, "P": 3}
_ELEMENT_TYPES = {"UINT8": 2, "INT32": 6, "FP32": 1}  # of onnx.TensorProto


@dataclass(frozen=True)
class OnnxFile:
    """The bytes of an ONNX file, and what is in it: nodes, and weights by how they are stored."""

    data: bytes
    nodes: int
    weights: int
    weights_fp16: int


def to_onnx(graph: Graph, *, weights_storage: str = "fp32") -> OnnxFile:
    """``graph`` as ONNX, with names, dtypes and dims of its specification.

    With ``weights_storage`` ``"fp16"`` every fp32 weight that 16 bit can hold exactly is stored
    in 16 bit with a cast behind it, which runtimes fold away when they load the file: round the
    model's weights before, and nothing is lost here. Raises :class:`ExportError` when the graph
    holds what not every runtime can do.
    """
    import onnx

    model = slimmed(onnx.load_from_string(_trace(graph)), fold_limit=_FOLD_LIMIT)
    _take_interface_from_spec(model, graph)
    weights, halves = _stored_weights(model, half=weights_storage == "fp16")
    _check(model, graph.spec.name)
    return OnnxFile(
        data=model.SerializeToString(deterministic=True),
        nodes=len(model.graph.node),
        weights=weights,
        weights_fp16=halves,
    )


def _trace(graph: Graph) -> bytes:
    spec = graph.spec
    examples = tuple(_example(tensor) for tensor in spec.inputs)
    dynamic = {
        tensor.name: {axis: dim for axis, dim in enumerate(tensor.dims) if isinstance(dim, str)}
        for tensor in (*spec.inputs, *spec.outputs)
    }
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        file = Path(folder) / "graph.onnx"
        # the exporter's own deprecation, and constants that it leaves to onnxslim
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
        torch.onnx.export(
            graph.module.eval(),
            examples,
            file,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_axes={name: axes for name, axes in dynamic.items() if axes},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter writes opset 18 and converts it back
        )
        return file.read_bytes()


def _example(tensor: Tensor) -> torch.Tensor:
    shape = [_TRACE_SIZES[dim] if isinstance(dim, str) else dim for dim in tensor.dims]
    return torch.from_numpy(np.ones(shape, tensor.numpy_dtype))


def _take_interface_from_spec(model: Any, graph: Graph) -> None:
    """Names and dims of inputs and outputs as the contract spells them, and no leftovers."""
    import onnx

    def declared(tensor: Tensor) -> Any:
        kind = _ELEMENT_TYPES[tensor.dtype]
        return onnx.helper.make_tensor_value_info(tensor.name, kind, tensor.dims)

    for field, tensors in ((model.graph.input, graph.spec.inputs),
                           (model.graph.output, graph.spec.outputs)):  # fmt: skip
        found = [value.name for value in field]
        wanted = [tensor.name for tensor in tensors]
        if found != wanted:
            raise ExportError(f"{graph.spec.name}: traced {found}, expected {wanted}")
        del field[:]
        field.extend(declared(tensor) for tensor in tensors)
    del model.graph.value_info[:]
    model.graph.name = graph.spec.name
    model.producer_name, model.producer_version = "markcut", ""
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""


def _stored_weights(model: Any, *, half: bool) -> tuple[int, int]:
    """Store in 16 bit what loses nothing by it, if ``half``; counts of all weights and of these."""
    from onnx import helper, numpy_helper

    weights, halves, casts = 0, 0, []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        weights += values.size
        if not half or values.dtype != np.float32 or values.size < _SMALL:
            continue
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        if not np.array_equal(rounded.astype(np.float32), values):
            continue
        halves += values.size
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(rounded, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], f"{name}.fp32", to=1))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return weights, halves


def _check(model: Any, name: str) -> None:
    import onnx

    counts: Mapping[str, int] = Counter(node.op_type for node in model.graph.node)
    refused = sorted(_REFUSED & counts.keys())
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if refused or domains:
        raise ExportError(f"{name}: the graph holds {', '.join([*refused, *sorted(domains)])}")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET}:
        raise ExportError(f"{name}: the graph has the opsets {versions}, expected {OPSET}")
    try:
        onnx.checker.check_model(light(model), full_check=True)
    except Exception as error:  # the checker's and the shape inference's own kinds
        raise ExportError(f"{name}: onnx.checker refuses the graph ({error})") from None
