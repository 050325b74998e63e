"""How a mark says what it means: by going round it, pointing at it, lying on it or beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from markcut.beside import find_beside
from markcut.contracts import KINDS
from markcut.interior import goes_round

MEANINGS = ("round", "at", "on", "beside")
"""The ways; a circle goes round its object, an arrow points at it."""


def meaning(kind: int, ink: NDArray[np.bool_]) -> str:
    """One of :data:`MEANINGS` for a mark of ``kind`` with ``ink`` (h, w) of any scale.

    The kind decides but for ``other``, where the ink's shape does.
    """
    name = KINDS[kind]
    if name == "circle":
        return "round"
    if name == "arrow":
        return "at"
    if name == "other":
        if goes_round(ink):
            return "round"
        if find_beside(ink) is not None:
            return "beside"
    return "on"
