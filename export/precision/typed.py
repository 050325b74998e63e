"""An fp32 graph -> one whose arithmetic is typed in 16 bit, and what that graph really computes.

A node's types follow from its schema: whatever float inputs and outputs it may have in 16 bit, it
gets in 16 bit. Nodes that only move values keep the type of what they move. Casts stand at the
seams, one for each tensor, and the graph's inputs and outputs stay as the contract has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.errors import ExportError

TYPES: Mapping[str, tuple[int, str]] = {
    "fp16": (10, "tensor(float16)"),
    "bf16": (16, "tensor(bfloat16)"),
}
"""Of each 16-bit precision: ONNX's number of its type, and the type's name in schemas."""

OPSETS: Mapping[str, int] = {"bf16": 22}
"""The oldest opset whose convolutions take the type, where it is not the exporter's own."""

_FLOAT = 1  # of onnx.TensorProto
# operations that move values and compute nothing
_MOVES = {
    *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "Pad", "Reshape"),
    *("Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}


@dataclass(frozen=True)
class TypedGraph:
    """A graph typed in 16 bit.

    ``low`` names the nodes that compute in 16 bit. ``forced`` says of nodes that had to stay in
    fp32 why, by name: their operation does not exist in the type, or their weights do not fit it.
    """

    model: Any
    low: tuple[str, ...]
    forced: Mapping[str, str]


def plain(model: Any, precision: str = "fp32") -> Any:
    """A copy of ``model``, weights stored in fp32 and every node named, ready for ``precision``.

    Its opset is raised where the type needs a newer one (:data:`OPSETS`).
    """
    import onnx
    from onnx import numpy_helper, version_converter

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if _opset(copy) < OPSETS.get(precision, 0):
        copy = version_converter.convert_version(copy, OPSETS[precision])
    stored = {i.name: i for i in copy.graph.initializer}
    nodes, widened = [], set()
    for node in copy.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored and node.attribute[0].i == _FLOAT:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            copy.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            widened.add(node.input[0])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [i for i in copy.graph.initializer if i.name not in widened or i.name in used]
    replace(copy.graph.initializer, kept)
    names: set[str] = set()
    for index, node in enumerate(nodes):
        if not node.name or node.name in names:
            node.name = f"{node.name or node.op_type}.{index}"
        names.add(node.name)
    replace(copy.graph.node, nodes)
    return copy


def typed(model: Any, precision: str, *, keep: Collection[str] = ()) -> TypedGraph:
    """``model``, :func:`plain` for ``precision``, with all nodes but ``keep`` in that precision."""
    import onnx

    if precision not in TYPES:
        raise ExportError(f"precision: got {precision!r}, expected {' or '.join(TYPES)}")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kinds = _element_types(onnx.shape_inference.infer_shapes(copy, strict_mode=True))
    typing = _Typing(copy, kinds, _opset(copy), precision)
    for node in copy.graph.node:
        typing.add(node, keep=node.name in keep)
    return typing.finish()


def simulated(model: Any) -> Any:
    """``model`` as an fp32 graph that rounds wherever ``model`` would, after each operation.

    What a graph typed in 16 bit computes on a device that has it: products and sums inside one
    operation in fp32, results in 16 bit. Runtimes without 16-bit kernels run such a graph in
    fp32 and round less, or not at all, so that overflow would hide from them.
    """
    import onnx
    from onnx import helper, numpy_helper

    low = {number for number, _ in TYPES.values()}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    kinds = _element_types(inferred)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for initializer in copy.graph.initializer:
        if initializer.data_type in low:
            values = numpy_helper.to_array(initializer).astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    nodes: list[Any] = []
    for node in copy.graph.node:
        added = []
        for index, name in enumerate(node.output):
            kind = kinds.get(name, 0)
            if kind not in low:
                continue
            wide, narrow = f"{name}.wide", f"{name}.narrow"
            node.output[index] = wide
            added += [
                helper.make_node("Cast", [wide], [narrow], f"{narrow}", to=kind),
                helper.make_node("Cast", [narrow], [name], f"{name}.again", to=_FLOAT),
            ]
        if added and node.op_type == "Cast":
            node.attribute[0].i = _FLOAT
        nodes += [node, *added]
    replace(copy.graph.node, nodes)
    return copy


@dataclass
class _Typing:
    """One pass over a graph's nodes, in order."""

    model: Any
    kinds: Mapping[str, int]
    opset: int
    precision: str
    nodes: list[Any] = field(default_factory=list)
    lows: set[str] = field(default_factory=set)  # tensors that exist in 16 bit under this name
    casts: dict[tuple[str, bool], str] = field(default_factory=dict)
    rounded: dict[str, Any] = field(default_factory=dict)  # weights in 16 bit
    low: list[str] = field(default_factory=list)
    forced: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.number, self.name = TYPES[self.precision]
        self.dtype = np.float16 if self.precision == "fp16" else _bfloat16()
        self.weights = {i.name: i for i in self.model.graph.initializer}

    def add(self, node: Any, *, keep: bool) -> None:
        ins, outs = self._slots(node)
        low = not keep and bool(ins or outs)
        if low and not self._weights_fit(ins):
            low, self.forced[node.name] = False, f"its weights do not fit {self.precision}"
        computes = any(self.kinds.get(name) == _FLOAT for name in node.output)
        if computes and not outs and node.op_type != "Cast":
            self.forced[node.name] = f"there is no {node.op_type} in {self.precision}"
        moved = [n for n in ins.values() if n not in self.weights]
        if low and node.op_type in _MOVES and any(n not in self.lows for n in moved):
            low = False
        is_cast = node.op_type == "Cast"
        for index, name in enumerate(node.input):
            if self.kinds.get(name) == _FLOAT and not (is_cast and name in self.lows):
                node.input[index] = self._as(name, low=low and index in ins)
        if low:
            self.lows.update(outs)
            self._type_attributes(node)
            if node.op_type not in _MOVES:
                self.low.append(node.name)
        self.nodes.append(node)

    def finish(self) -> TypedGraph:
        import onnx
        from onnx import helper

        graph = self.model.graph
        for value in graph.output:
            if value.name in self.lows:  # the name belongs to the fp32 tensor of the contract
                inner = f"{value.name}.{self.precision}"
                for node in self.nodes:
                    _rename(node.input, value.name, inner)
                    _rename(node.output, value.name, inner)
                self.nodes.append(
                    helper.make_node("Cast", [inner], [value.name], f"{value.name}.fp32", to=_FLOAT)
                )
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        replace(result.graph.node, self.nodes)
        del result.graph.value_info[:]
        used = {name for node in self.nodes for name in node.input}
        every = [*graph.initializer, *self.rounded.values()]
        replace(result.graph.initializer, [i for i in every if i.name in used])
        return TypedGraph(result, tuple(self.low), self.forced)

    def _slots(self, node: Any) -> tuple[dict[int, str], list[str]]:
        """Float inputs (by index) and outputs that may be in 16 bit."""
        import onnx

        schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}

        def fits(parameters: Any, index: int) -> bool:
            kind = parameters[min(index, len(parameters) - 1)].type_str
            return self.name in allowed.get(kind, (kind,))

        floats = [(i, n) for i, n in enumerate(node.input) if self.kinds.get(n) == _FLOAT]
        made = [(i, n) for i, n in enumerate(node.output) if self.kinds.get(n) == _FLOAT]
        ins = {i: n for i, n in floats if fits(schema.inputs, i)}
        outs = [n for i, n in made if fits(schema.outputs, i)]
        return ins, outs

    def _weights_fit(self, ins: Mapping[int, str]) -> bool:
        return all(self._round(name) is not None for name in ins.values() if name in self.weights)

    def _round(self, name: str) -> str | None:
        """The 16-bit copy of a weight, or None if it does not fit."""
        from onnx import numpy_helper

        copy = f"{name}.{self.precision}"
        if copy not in self.rounded:
            values = numpy_helper.to_array(self.weights[name])
            with np.errstate(over="ignore"):
                narrow = values.astype(self.dtype)
            if not np.array_equal(np.isfinite(narrow.astype(np.float32)), np.isfinite(values)):
                return None
            self.rounded[copy] = numpy_helper.from_array(narrow, copy)
        return copy

    def _as(self, name: str, *, low: bool) -> str:
        """The name of tensor ``name`` in 16 bit or in fp32; a cast is added where it is missing."""
        from onnx import helper

        if (name in self.lows) == low:
            return name
        if low and name in self.weights:
            rounded = self._round(name)
            if rounded is None:
                raise ExportError(f"{name}: a weight does not fit {self.precision}")
            return rounded
        key = (name, low)
        if key not in self.casts:
            self.casts[key] = f"{name}.{self.precision if low else 'fp32'}.cast"
            kind = self.number if low else _FLOAT
            self.nodes.append(
                helper.make_node("Cast", [name], [self.casts[key]], self.casts[key], to=kind)
            )
        return self.casts[key]

    def _type_attributes(self, node: Any) -> None:
        from onnx import numpy_helper

        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
                attribute.i = self.number
            if node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
                values = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(values.astype(self.dtype)))


def _element_types(model: Any) -> dict[str, int]:
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds.update({i.name: i.data_type for i in graph.initializer})
    return kinds


def _opset(model: Any) -> int:
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _bfloat16() -> Any:
    import ml_dtypes

    return ml_dtypes.bfloat16


def replace(field_: Any, items: Iterable[Any]) -> None:
    """Put ``items``, which may be in it already, in place of what a repeated field holds."""
    items = list(items)
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field_[:]
    field_.extend(copies)


def _rename(names: Any, old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new
