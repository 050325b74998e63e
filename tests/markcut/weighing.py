"""Weights for clues that say in the open what every clue counts."""

from __future__ import annotations

from markcut.belief_weights import CLUES, Weights
from markcut.contracts import KINDS

WIDE = 100.0


def linear(added: float = 0.0, **counts: float) -> Weights:
    """A network that adds ``counts`` (by the name of a clue or kind) times the clue."""
    names = (*CLUES, *KINDS)
    units, sums = [], []
    for name, count in counts.items():
        for sign in (1.0, -1.0):  # a rectified unit for either side of zero
            row = [0.0] * (len(names) + 1)
            row[names.index(name)] = sign
            units.append(tuple(row))
            sums.append(sign * count)
    return Weights(
        low=(-WIDE,) * len(CLUES),
        high=(WIDE,) * len(CLUES),
        units=tuple(units),
        sums=(*sums, added),
    )


SCORE = linear(score=1.0)
"""YOLO's score, and nothing else."""
