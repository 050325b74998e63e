"""The client's copy of the wire contract, so that it runs where the engine is not installed.

It mirrors ``markcut.contracts.MARKED_OBJECT``, ``KINDS`` and ``STAGES``; a test holds the two
against each other. No other module of the client spells a tensor name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut_client.errors import AnswerError

Array = NDArray[Any]

_NUMPY = {"UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32, "BYTES": np.object_}


@dataclass(frozen=True)
class Tensor:
    """One tensor of the contract: name, Triton data type, dims; a ``str`` is a dynamic axis."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


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

MODEL = "marked_object"
IMAGE = Tensor("image", "UINT8", ("L",))

MARK_KINDS = Tensor("mark_kinds", "INT32", ("N",))
MARK_SCORES = Tensor("mark_scores", "FP32", ("N",))
MARK_BOXES = Tensor("mark_boxes", "FP32", ("N", 4))
MARK_MASKS = Tensor("mark_masks", "BYTES", ("N",))
POINT_COORDS = Tensor("point_coords", "FP32", ("N", "P", 2))
POINT_LABELS = Tensor("point_labels", "INT32", ("N", "P"))
OBJECT_MASKS = Tensor("object_masks", "BYTES", ("N",))
OBJECT_SCORES = Tensor("object_scores", "FP32", ("N",))
OBJECT_REASONS = Tensor("object_reasons", "BYTES", ("N",))
PICTURE_SIZE = Tensor("picture_size", "INT32", (2,))
STAGE_MS = Tensor("stage_ms", "FP32", (len(STAGES),))

INPUTS = (IMAGE,)
OUTPUTS = (
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
)

BACKGROUND, FOREGROUND, PADDING = 0, 1, -1  # values of point_labels
_CURE = "install client and engine of the same version"


def check_answer(outputs: Mapping[str, Array]) -> None:
    """Raise :class:`AnswerError` with the first thing in ``outputs`` that breaks the contract.

    Run lengths are checked elsewhere, by ``masks.Rle``.
    """
    sizes: dict[str, int] = {}
    for tensor in OUTPUTS:
        _check_tensor(tensor, outputs, sizes)
    if (outputs[PICTURE_SIZE.name] < 1).any():
        raise _wrong(PICTURE_SIZE, outputs[PICTURE_SIZE.name].tolist(), "a height and a width")
    kinds = outputs[MARK_KINDS.name]
    if ((kinds < 0) | (kinds >= len(KINDS))).any():
        raise _wrong(MARK_KINDS, kinds.tolist(), f"indices from 0 to {len(KINDS) - 1}")
    labels = outputs[POINT_LABELS.name]
    if not np.isin(labels, (BACKGROUND, FOREGROUND, PADDING)).all():
        raise _wrong(POINT_LABELS, np.unique(labels).tolist(), "1, 0 or -1 for padding")
    for tensor in OUTPUTS:
        values = outputs[tensor.name]
        if tensor.dtype == "FP32" and not np.isfinite(values).all():
            raise _wrong(tensor, "NaN or infinity", "finite numbers")
        if tensor.dtype == "BYTES" and not all(isinstance(value, bytes) for value in values):
            raise _wrong(tensor, f"{type(values[0]).__name__} elements", "bytes")


def _check_tensor(tensor: Tensor, outputs: Mapping[str, Array], sizes: dict[str, int]) -> None:
    values = outputs.get(tensor.name)
    wanted = f"{tensor.dtype} {_dims(tensor, sizes)}"
    if not isinstance(values, np.ndarray):
        raise _wrong(tensor, "nothing" if values is None else type(values).__name__, wanted)
    fits = values.dtype == _NUMPY[tensor.dtype] and values.ndim == len(tensor.dims)
    if fits:
        for dim, size in zip(tensor.dims, values.shape, strict=True):
            fits &= size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
    if not fits:
        raise _wrong(tensor, f"{values.dtype} {values.shape}", wanted)


def _dims(tensor: Tensor, sizes: Mapping[str, int]) -> str:
    return f"({', '.join(str(sizes.get(str(dim), dim)) for dim in tensor.dims)})"


def _wrong(tensor: Tensor, came: object, wanted: str) -> AnswerError:
    return AnswerError(f"{tensor.name}: the answer holds {came}, expected {wanted}; {_CURE}")
