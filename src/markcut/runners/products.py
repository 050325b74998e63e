"""What a graph computes its products in, read from the bytes of an ONNX file.

Products (convolutions and matrix products) are where the time goes, so their precision is what
"the precision of the arithmetic" means. Weights that are stored in 16 bit before a cast to fp32
do not count: it is the type that enters the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

_PRODUCTS = {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"}
_INT8_PRODUCTS = {
    *("ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
    *("QGemm", "QLinearConv", "QLinearMatMul"),
}
_TYPES = {1: "fp32", 10: "fp16", 16: "bf16"}  # of onnx.TensorProto

Field = tuple[int, int | memoryview]  # number, value


def product_precisions(onnx: bytes | memoryview, *, final: bool = False) -> Counter[str]:
    """How many products of the ONNX file ``onnx`` take their weights in fp32, fp16, bf16, int8.

    A product behind a dequantisation counts as int8, since a runtime is meant to fuse both; in a
    ``final`` graph, one that a runtime has optimised, it counts as the fp32 that it is. Products
    of two activations are not counted. Raises ValueError for bytes that are no ONNX file.
    """
    kinds: dict[str, str] = {}
    nodes: list[tuple[str, list[str]]] = []
    for number, graph in _fields(memoryview(onnx)):
        if number != 7 or isinstance(graph, int):  # ModelProto.graph
            continue
        for field, value in _fields(graph):
            if isinstance(value, int):
                continue
            if field == 1:  # GraphProto.node
                kind, inputs, outputs = _node(value)
                nodes.append((kind, inputs))
                if kind == "DequantizeLinear":
                    kinds.update(dict.fromkeys(outputs, "fp32" if final else "int8"))
                elif kind == "Cast":
                    kinds.update(dict.fromkeys(outputs, _cast_to(value)))
            elif field == 5:  # GraphProto.initializer
                name, kind = _initializer(value)
                kinds[name] = kind
    found: Counter[str] = Counter()
    for kind, inputs in nodes:
        if kind in _INT8_PRODUCTS:
            found["int8"] += 1
        elif kind in _PRODUCTS and len(inputs) > 1 and kinds.get(inputs[1], ""):
            found[kinds[inputs[1]]] += 1
    return found


def most(precisions: Counter[str]) -> str:
    """The precision of most products; fp32 where there are none."""
    return precisions.most_common(1)[0][0] if precisions else "fp32"


def _node(data: memoryview) -> tuple[str, list[str], list[str]]:
    kind, inputs, outputs = "", [], []
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
    return kind, inputs, outputs


def _cast_to(node: memoryview) -> str:
    for number, value in _fields(node):
        if number == 5 and not isinstance(value, int):  # NodeProto.attribute; a cast has "to"
            integers = (v for n, v in _fields(value) if n == 3)
            return _TYPES.get(_first_integer(integers), "")
    return ""


def _initializer(data: memoryview) -> tuple[str, str]:
    name, kind = "", ""
    for number, value in _fields(data):
        if number == 2 and isinstance(value, int):
            kind = _TYPES.get(value, "")
        elif number == 8 and not isinstance(value, int):
            name = _text(value)
    return name, kind


def _first_integer(values: Iterable[int | memoryview]) -> int:
    return next((value for value in values if isinstance(value, int)), 0)


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of one protocol-buffer message; fixed-width ones are passed over."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no ONNX file: wire type {wire} at byte {at}")
        if at + size > end:
            raise ValueError(f"no ONNX file: a field ends behind byte {end}")
        if wire == 2:
            yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("no ONNX file: a number does not end")
