"""Warm-up requests: every model answers one before the server calls itself ready.

Zeros do for most inputs. The others are small files beside the configuration.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from export.pbtxt import Enum, Value
from markcut.contracts import (
    MARKED_OBJECT,
    MARKS,
    MASK_SELECTION,
    PREPROCESS,
    PROMPT_PREPROCESS,
    PROMPT_SELECTION,
    PROMPTED_OBJECT,
    Tensor,
)
from markcut.passing import NOBODY

_SIDE = 32  # of the warm-up's picture
_FREE = {"H": _SIDE, "W": _SIDE, "I": 1, "L": 1}  # other symbols: one


def warmup_files() -> dict[str, dict[str, bytes]]:
    """The files in the folder ``warmup`` of the models that have one, by model."""
    image, _, _, boxes, _ = PROMPTED_OBJECT.inputs
    nobody = np.array([NOBODY], np.int32).tobytes()
    size = np.array([_SIDE, _SIDE], np.int32).tobytes()
    picture = {image.name: _picture()}
    sized = {MARKED_OBJECT.outputs[-2].name: size}
    window = np.array([0, 0, _SIDE, _SIDE], np.int32).tobytes()
    owners, seen = MASK_SELECTION.inputs[5].name, MASK_SELECTION.inputs[-2].name
    return {
        PREPROCESS.name: picture,
        MASK_SELECTION.name: {owners: nobody, MARKS[0].name: nobody, seen: window, **sized},
        PROMPT_PREPROCESS.name: {
            **picture,
            boxes.name: np.full((1, 4), np.nan, np.float32).tobytes(),
        },
        PROMPT_SELECTION.name: sized,
    }


def warmup(model: str, inputs: Sequence[Tensor], *, cut: int = 0) -> Mapping[str, Value]:
    """One warm-up request of ``model``; ``cut`` leading dims are the batch."""
    files = warmup_files().get(model, {})
    given: list[Value] = []
    for tensor in inputs:
        dims = [d if isinstance(d, int) else _FREE.get(d, 1) for d in tensor.dims[cut:]]
        source: dict[str, Value] = {"zero_data": True}
        if tensor.name in files:
            source = {"input_data_file": tensor.name}
            if tensor.dims == ("L",):
                dims = [len(files[tensor.name])]
        value = {"data_type": Enum(f"TYPE_{tensor.dtype}"), "dims": list(dims), **source}
        given.append({"key": tensor.name, "value": value})
    return {"name": "one", "batch_size": 1, "inputs": given}


def _picture() -> bytes:
    # BMP: its bytes are the same whatever wrote them
    held = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (90, 120, 150)).save(held, "BMP")
    return held.getvalue()
