"""Which operations must stay in fp32? Found by measurement, in a bounded number of tries.

A *try* keeps some nodes in fp32, converts the rest and measures the damage: how much of what is
allowed the answers lost, so that 1 is just allowed and infinity is no answer at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

Damage = Callable[[Collection[str]], float]

_SECTIONS = 8  # the nodes are cut into so many runs to begin with
_BROKEN = 20.0  # damage from which a graph is not inexact but broken
_TAIL = 4  # part of the graph whose last one is kept then, for a beginning


@dataclass(frozen=True)
class Found:
    """What :func:`search` came to.

    ``keep`` are the nodes that stay in fp32, in their order; None: nothing passed. ``damage`` is
    that of ``keep`` (of the whole conversion, where nothing passed), ``whole`` that of converting
    everything, ``tries`` the number of measurements.
    """

    keep: tuple[str, ...] | None
    damage: float
    whole: float
    tries: int


def search(
    nodes: Sequence[str],
    damage: Damage,
    *,
    allowed: float = 1.0,
    most: int = 48,
    step: Callable[[str], None] = lambda said: None,
) -> Found:
    """Find few of ``nodes`` (in the graph's order) to keep; the damage is ``allowed`` at most then.

    Everything is converted first. If that breaks the graph, its end is kept: what comes behind a
    network, boxes in pixels and their overlaps, is one calculation that cannot be halved. If that
    is too much, or not enough, runs of nodes are converted one at a time;
    the most damaging run is halved again and again, and what is left of it is kept, until the
    rest, converted together, passes. At most ``most`` tries; ``step`` is told before each what
    will be tried.
    """
    tries = 0

    def measure(keep: Collection[str], said: str) -> float:
        nonlocal tries
        tries += 1
        step(said)
        found = damage(keep)
        return math.inf if math.isnan(found) else found

    every = list(nodes)
    whole = measure((), f"all {len(every)} operations")
    if whole <= allowed:
        return Found((), whole, whole, tries)

    if whole > _BROKEN and most > _SECTIONS + 2:
        tail = tuple(every[len(every) - len(every) // _TAIL :])
        found = measure(tail, f"all but the last {len(tail)}")
        if found <= allowed:
            return Found(tail, found, whole, tries)

    def alone(run: Sequence[str]) -> float:
        return measure([n for n in every if n not in set(run)], f"{len(run)} alone, from {run[0]}")

    size = max(1, math.ceil(len(every) / _SECTIONS))
    runs = [every[i : i + size] for i in range(0, len(every), size)]
    left = [(alone(run), run) for run in runs] if most > len(runs) + tries else []
    kept: set[str] = set()
    added = sum(found for found, _ in left)
    # together, runs do less damage than their sum, which is mostly noise: learn how much less
    share = min(1.0, whole / added) if 0 < added < math.inf and whole < math.inf else 1.0
    expected = allowed  # is lowered where the runs together do more than they should
    while left and tries < most:
        if share * sum(found for found, _ in left) <= expected:
            keep = tuple(n for n in every if n in kept)
            found = measure(keep, f"all but {len(keep)}")
            if found <= allowed:
                return Found(keep, found, whole, tries)
            expected *= 0.7
            continue
        left.sort(key=lambda pair: pair[0])
        _, worst = left.pop()
        if len(worst) == 1 or tries > most * 0.7:
            kept.update(worst)
            continue
        half = len(worst) // 2
        left += [(alone(part), part) for part in (worst[:half], worst[half:])]
    return Found(None, whole, whole, tries)
