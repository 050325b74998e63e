"""Would TensorRT's parser take a graph? Everything that can be told without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from export.tensorrt.support import Support

# operators whose output's size depends on data, or that are arithmetic on shapes
_DYNAMIC = {
    *("Shape", "Size", "NonZero", "Unique", "Compress", "NonMaxSuppression", "RoiAlign"),
    *("If", "Loop", "Scan", "OneHot", "Range", "ConstantOfShape"),
}
# inputs that say a shape or an axis: these must be constants, so that nothing computes them
_CONSTANTS = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Slice": (1, 2, 3, 4), "TopK": (1,),
    "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "Pad": (1,), "Resize": (1, 2, 3),
    "ReduceSum": (1,),
}  # fmt: skip
_RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        *("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric"),
        "align_corners",
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
_ONE_OUTPUT = ("MaxPool", "LayerNormalization")


@dataclass(frozen=True)
class Problem:
    """One node that a parser would refuse, or that computes shapes, and why."""

    node: str
    operator: str
    why: str

    def __str__(self) -> str:
        return f"{self.operator} {self.node!r}: {self.why}"


def refused(model: Any, support: Support) -> list[Problem]:
    """Every node of an ``onnx.ModelProto`` that this generation of TensorRT does not take."""
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    problems = []
    if opset > support.opset:
        why = f"opset {opset}, expected at most {support.opset}"
        problems.append(Problem("", "graph", why))
    kinds = element_types(model)
    inputs = {value.name for value in model.graph.input}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else "")
        allowed = support.operators.get(node.op_type)
        if node.domain not in ("", "ai.onnx") or allowed is None:
            why = f"TensorRT {support.name} does not have this operator"
            problems.append(Problem(name, f"{node.domain or ''}{node.op_type}", why))
            continue
        for tensor in _data(node, opset):
            kind = kinds.get(tensor, "unknown")
            if node.op_type == "Cast" and kind == "UINT8" and tensor in inputs:
                continue  # what every generation takes UINT8 inputs into
            if support.narrows.get(kind, kind) not in allowed:
                why = f"{kind}, expected one of {', '.join(sorted(allowed))}"
                problems.append(Problem(name, node.op_type, why))
        problems += (Problem(name, node.op_type, why) for why in _restrictions(node, weights))
    return problems


def shape_arithmetic(model: Any) -> list[Problem]:
    """Every node that computes a shape while the network runs, or needs data to know one."""
    constants = _constants(model)
    problems = []
    for node in model.graph.node:
        name = node.name or node.output[0]
        if node.op_type in _DYNAMIC and not set(node.input) <= constants:
            problems.append(Problem(name, node.op_type, "its output's size or value is a shape"))
        for index in _CONSTANTS.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] and (
                node.input[index] not in constants
            ):  # fmt: skip
                problems.append(Problem(name, node.op_type, f"input {index} is no constant"))
    return problems


def element_types(model: Any) -> dict[str, str]:
    """ONNX's name of every tensor's element type; those it cannot infer are missing."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
    named = onnx.TensorProto.DataType.Name
    kinds = {
        value.name: named(value.type.tensor_type.elem_type)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    return kinds | {tensor.name: named(tensor.data_type) for tensor in model.graph.initializer}


def _without_weights(model: Any) -> Any:
    """A copy in which large weights are inputs: types are all that matters, and copies are not
    free."""
    import onnx

    bare = onnx.ModelProto()
    bare.ir_version = model.ir_version
    bare.opset_import.extend(model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < 4096:
            bare.graph.initializer.append(tensor)
        else:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            bare.graph.input.append(value)
    return bare


def _data(node: Any, opset: int) -> Iterator[str]:
    """The tensors whose type the matrices speak of: those that share the data's type."""
    import onnx

    schema = onnx.defs.get_schema(node.op_type, opset, "")
    first = schema.inputs[1 if node.op_type == "Where" else 0].type_str if schema.inputs else ""
    for side, formal in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for index, tensor in enumerate(side):
            declared = formal[min(index, len(formal) - 1)].type_str
            if tensor and (declared == first or node.op_type == "Cast"):
                yield tensor


def _restrictions(node: Any, weights: Mapping[str, Any]) -> Iterator[str]:
    import onnx

    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Resize":
        for name, allowed in _RESIZE.items():
            value = values.get(name, allowed[0].encode()).decode()
            if value not in allowed:
                yield f"{name} {value}, expected one of {', '.join(allowed)}"
        if values.get("antialias"):
            yield "antialias is not taken"
    if node.op_type in _QUANTISING and len(node.input) > 2 and node.input[2]:
        zero = weights.get(node.input[2])
        if zero is None or onnx.numpy_helper.to_array(zero).any():
            yield "its zero point is not 0"
    if node.op_type in _ONE_OUTPUT and sum(map(bool, node.output)) > 1:
        yield "its second output is not taken"


def _constants(model: Any) -> set[str]:
    """Names of what is known before the network runs: weights, and what only they go into."""
    known = {tensor.name for tensor in model.graph.initializer} | {""}
    for node in model.graph.node:
        if set(node.input) <= known:
            known.update(node.output)
    return known
