"""The tensor that says: no earlier mask. Only the engine knows the size that it must have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from markcut_client import wire
from markcut_client.wire import Array

_NAME = wire.EARLIER_LOGITS.name
_LARGEST = 4096  # of a side that an engine may name


def lacks_size(inputs: Mapping[str, Array]) -> bool:
    """Whether no object has an earlier mask, so that the planes are still (1, 1)."""
    earlier = inputs.get(_NAME)
    return earlier is not None and earlier.shape[1:] == (1, 1)


def with_size(inputs: Mapping[str, Array], plane: tuple[int, ...]) -> Mapping[str, Array]:
    """``inputs`` with planes of NaN of the engine's size; as they are where it takes any size."""
    if not is_plane(plane) or not lacks_size(inputs):
        return inputs
    empty = np.full((len(inputs[_NAME]), *plane), np.nan, np.float32)
    return {**inputs, _NAME: empty}


def is_plane(dims: tuple[int, ...]) -> bool:
    """Whether ``dims`` are two sizes, none of them free."""
    return len(dims) == 2 and all(0 < size <= _LARGEST for size in dims)
