"""The client's copy of the wire contract, so that it runs where the engine is not installed.

It mirrors ``markcut.contracts.ENSEMBLES``, ``KINDS`` and ``STAGES``; a test holds the two against
each other. No other module of the client spells a tensor name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut_client.errors import AnswerError

Array = NDArray[Any]

DTYPES: Mapping[str, np.dtype[Any]] = {
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "FP32": np.dtype(np.float32),
    "BYTES": np.dtype(np.object_),
}
"""The names of the contract's data types, and numpy's; BYTES is an array of ``bytes``."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the contract: name, Triton data type, dims; a ``str`` is a dynamic axis."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Model:
    """What a request goes to: its name, what it takes and what it answers."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


KINDS = ("arrow", "circle", "cross", "dot", "line", "tick", "other")

STAGES = (
    "decode",
    "preprocess",
    "clipseg",
    "yolo11_seg",
    "yolo11_seg_crops",
    "marks",
    "sam2_encoder",
    "point_sampler",
    "sam2_decoder",
    "mask_selection",
    "encode",
    "total",
)

IMAGE = Tensor("image", "UINT8", ("L",))
POINT_COORDS = Tensor("point_coords", "FP32", ("N", "P", 2))
POINT_LABELS = Tensor("point_labels", "INT32", ("N", "P"))
BOXES = Tensor("boxes", "FP32", ("N", 4))
EARLIER_LOGITS = Tensor("earlier_logits", "FP32", ("N", "S/4", "S/4"))

MARK_KINDS = Tensor("mark_kinds", "INT32", ("N",))
MARK_SCORES = Tensor("mark_scores", "FP32", ("N",))
MARK_BOXES = Tensor("mark_boxes", "FP32", ("N", 4))
MARK_MASKS = Tensor("mark_masks", "BYTES", ("N",))
OBJECT_MASKS = Tensor("object_masks", "BYTES", ("N",))
OBJECT_SCORES = Tensor("object_scores", "FP32", ("N",))
OBJECT_REASONS = Tensor("object_reasons", "BYTES", ("N",))
MASK_LOGITS = Tensor("mask_logits", "FP32", ("N", "S/4", "S/4"))
PICTURE_SIZE = Tensor("picture_size", "INT32", (2,))
STAGE_MS = Tensor("stage_ms", "FP32", (len(STAGES),))

MARKED_OBJECT = Model(
    "marked_object",
    inputs=(IMAGE,),
    outputs=(
        MARK_KINDS,
        MARK_SCORES,
        MARK_BOXES,
        MARK_MASKS,
        POINT_COORDS,
        POINT_LABELS,
        OBJECT_MASKS,
        OBJECT_SCORES,
        OBJECT_REASONS,
        PICTURE_SIZE,
        STAGE_MS,
    ),
)
PROMPTED_OBJECT = Model(
    "prompted_object",
    inputs=(IMAGE, POINT_COORDS, POINT_LABELS, BOXES, EARLIER_LOGITS),
    outputs=(OBJECT_MASKS, OBJECT_SCORES, MASK_LOGITS, PICTURE_SIZE, STAGE_MS),
)
MODELS: Mapping[str, Model] = {m.name: m for m in (MARKED_OBJECT, PROMPTED_OBJECT)}

BACKGROUND, FOREGROUND, PADDING = 0, 1, -1  # values of point_labels
_CURE = "install client and engine of the same version"


def check_answer(outputs: Mapping[str, Array], model: Model = MARKED_OBJECT) -> None:
    """Raise :class:`AnswerError` with the first thing in ``outputs`` that breaks the contract.

    Run lengths are checked elsewhere, by ``masks.Rle``.
    """
    sizes: dict[str, int] = {}
    for tensor in model.outputs:
        _check_tensor(tensor, outputs, sizes)
    for tensor in model.outputs:
        _check_values(tensor, outputs[tensor.name])


def _check_values(tensor: Tensor, values: Array) -> None:
    if tensor is PICTURE_SIZE and (values < 1).any():
        raise _wrong(tensor, values.tolist(), "a height and a width")
    if tensor is MARK_KINDS and ((values < 0) | (values >= len(KINDS))).any():
        raise _wrong(tensor, values.tolist(), f"indices from 0 to {len(KINDS) - 1}")
    if tensor is POINT_LABELS and not np.isin(values, (BACKGROUND, FOREGROUND, PADDING)).all():
        raise _wrong(tensor, np.unique(values).tolist(), "1, 0 or -1 for padding")
    if tensor.dtype == "FP32" and not np.isfinite(values).all():
        raise _wrong(tensor, "NaN or infinity", "finite numbers")
    if tensor.dtype == "BYTES" and not all(isinstance(value, bytes) for value in values):
        raise _wrong(tensor, f"{type(values[0]).__name__} elements", "bytes")


def _check_tensor(tensor: Tensor, outputs: Mapping[str, Array], sizes: dict[str, int]) -> None:
    values = outputs.get(tensor.name)
    wanted = f"{tensor.dtype} {_dims(tensor, sizes)}"
    if not isinstance(values, np.ndarray):
        raise _wrong(tensor, "nothing" if values is None else type(values).__name__, wanted)
    fits = values.dtype == DTYPES[tensor.dtype] and values.ndim == len(tensor.dims)
    if fits:
        for dim, size in zip(tensor.dims, values.shape, strict=True):
            fits &= size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
    if not fits:
        raise _wrong(tensor, f"{values.dtype} {values.shape}", wanted)


def _dims(tensor: Tensor, sizes: Mapping[str, int]) -> str:
    return f"({', '.join(str(sizes.get(str(dim), dim)) for dim in tensor.dims)})"


def _wrong(tensor: Tensor, came: object, wanted: str) -> AnswerError:
    return AnswerError(f"{tensor.name}: the answer holds {came}, expected {wanted}; {_CURE}")
