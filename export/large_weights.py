"""Rewriting and checking graphs without dragging their weights along.

Every pass of onnxslim and of onnx's checker copies the whole model several times. None of them
looks into large weights, so inputs of the same shape stand in for them meanwhile.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

LARGE = 1 << 16
"""Bytes: smaller weights stay, since rewriting may look into them."""


def light(model: Any) -> Any:
    """A copy of the ``onnx.ModelProto`` whose large weights are inputs instead."""
    import onnx

    graph = model.graph
    large = [weight for weight in graph.initializer if _is_large(weight)]
    copy = onnx.ModelProto(ir_version=max(model.ir_version, 4))  # before, weights were inputs too
    for field, value in model.ListFields():
        if field.name not in ("graph", "ir_version"):
            _copy_field(copy, field.name, value)
    for field, value in graph.ListFields():
        if field.name != "initializer":
            _copy_field(copy.graph, field.name, value)
    copy.graph.initializer.extend(w for w in graph.initializer if not _is_large(w))
    copy.graph.input.extend(
        onnx.helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in large
    )
    return copy


def slimmed(model: Any, *, fold_limit: int) -> Any:
    """``model`` after onnxslim, which folds constants of up to ``fold_limit`` bytes."""
    import onnxslim

    slim = onnxslim.slim(light(model), size_threshold=fold_limit)
    large = {weight.name: weight for weight in model.graph.initializer if _is_large(weight)}
    used = {name for node in slim.graph.node for name in node.input}
    inputs = [value for value in slim.graph.input if value.name not in large]
    del slim.graph.input[:]
    slim.graph.input.extend(inputs)
    slim.graph.initializer.extend(weight for name, weight in large.items() if name in used)
    return slim


def give_back_memory() -> None:
    """Hand freed memory back to the system, where the C library keeps it until it is asked.

    Weights of a few megabytes each come and go in gigabytes here, and the holes stay.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def _is_large(weight: Any) -> bool:
    return len(weight.raw_data) >= LARGE


def _copy_field(into: Any, name: str, value: Any) -> None:
    if hasattr(value, "extend") or hasattr(value, "MergeFrom"):
        getattr(into, name).MergeFrom(value)
    else:
        setattr(into, name, value)
