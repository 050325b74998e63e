"""What the clues to a mark count: a small network that a bundle brings along for its large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from markcut.contracts import KINDS
from markcut.manifest_fields import as_number, as_object, as_texts, check_keys, wrong

CLUES = (
    "score", "whole", "near", "heat", "clear", "extent", "width", "aspect", "fill", "border",
    "spread", "surroundings", "rarity", "chroma",
)  # fmt: skip
"""The clues but the kind, in the order in which they are weighed."""

_MOST = 1000  # of one weight: beyond, the sums could overflow
_UNITS = 256

Row = tuple[float, ...]


@dataclass(frozen=True)
class Weights:
    """One layer of rectified units over the clues and the kind, and their weighted sum.

    What is outside of the values that the clues had when these numbers were found counts like
    the nearest that was inside.
    """

    low: Row  # (number of CLUES,)
    high: Row  # the same
    units: tuple[Row, ...]  # (units, number of CLUES + number of KINDS + 1); the last is added
    sums: Row  # (units + 1,); the last is added
    clues: tuple[str, ...] = CLUES
    kinds: tuple[str, ...] = KINDS

    def odds(self, values: Sequence[float], kind: int) -> float:
        """The log-odds that a mark of ``kind`` (index into KINDS) with these clues was drawn."""
        clipped = np.clip(values, self.low, self.high)
        drawn = np.zeros(len(KINDS))
        drawn[kind] = 1
        units = np.maximum(np.array(self.units) @ np.concatenate([clipped, drawn, [1.0]]), 0)
        return float(np.dot(self.sums, np.append(units, 1.0)))


def parse_weights(raw: object, key: str) -> Weights | None:
    """The weights in a manifest under ``key``; None for null: a bundle without any.

    Raises :class:`~markcut.errors.BundleError` for anything else that is no such network.
    """
    if raw is None:
        return None
    top = as_object(raw, key)
    check_keys(top, key, tuple(Weights.__dataclass_fields__))
    for name, known in (("clues", CLUES), ("kinds", KINDS)):
        if as_texts(top[name], f"{key}.{name}") != known:
            raise wrong(f"{key}.{name}", top[name], f"{list(known)}; calibrate the bundle again")
    rows = top["units"]
    if not isinstance(rows, list) or not 0 < len(rows) <= _UNITS:
        raise wrong(f"{key}.units", rows, f"a list of 1 to {_UNITS} lists of numbers")
    inputs = len(CLUES) + len(KINDS) + 1
    found = Weights(
        low=_row(top["low"], f"{key}.low", len(CLUES)),
        high=_row(top["high"], f"{key}.high", len(CLUES)),
        units=tuple(_row(row, f"{key}.units[{i}]", inputs) for i, row in enumerate(rows)),
        sums=_row(top["sums"], f"{key}.sums", len(rows) + 1),
    )
    for index, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        if low > high:
            raise wrong(f"{key}.low[{index}]", low, f"at most {key}.high[{index}], {high}")
    return found


def _row(raw: object, key: str, length: int) -> Row:
    if not isinstance(raw, list) or len(raw) != length:
        raise wrong(key, raw, f"a list of {length} numbers")
    values = tuple(as_number(value, f"{key}[{i}]") for i, value in enumerate(raw))
    for index, value in enumerate(values):
        if not abs(value) <= _MOST:
            raise wrong(f"{key}[{index}]", value, f"a number from -{_MOST} to {_MOST}")
    return values
