"""What the clues to a mark count: numbers that a bundle brings along for its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markcut.contracts import KINDS
from markcut.manifest_fields import wrong

CLUES = ("score", "whole", "heat", "spread")
NAMES = tuple(f"belief_{name}" for name in (*CLUES, *KINDS))
"""Names of the weights among a bundle's defaults: of the clues, then of the kinds."""

_MOST = 1000  # log-odds of one clue: beyond, the sum could overflow


@dataclass(frozen=True)
class Weights:
    """What the clues count, in log-odds: a logistic regression."""

    clues: tuple[float, ...]  # in the order of CLUES
    kinds: tuple[float, ...]  # in the order of KINDS

    @property
    def rises_with_spread(self) -> bool:
        """Whether uneven ink counts for a mark, so that even ink is not the most there can be."""
        return self.clues[CLUES.index("spread")] > 0


def weights(defaults: Mapping[str, float]) -> Weights | None:
    """The weights among a bundle's ``defaults``; None for a bundle without any.

    Raises :class:`~markcut.errors.BundleError` where some of :data:`NAMES` are there, not all,
    and for a weight that no regression gives.
    """
    there = [name for name in NAMES if name in defaults]
    if not there:
        return None
    for name in NAMES:
        if name not in defaults:
            raise wrong("defaults", there, f"{name!r} with them, or none of the belief_ numbers")
        if not abs(defaults[name]) <= _MOST:
            raise wrong(f"defaults.{name}", defaults[name], f"a number from -{_MOST} to {_MOST}")
    values = tuple(defaults[name] for name in NAMES)
    return Weights(values[: len(CLUES)], values[len(CLUES) :])
