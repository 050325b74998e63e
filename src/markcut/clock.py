"""Time spent in the stages of one request, also when they run in several threads or processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import STAGES

_TOTAL = STAGES.index("total")


class Clock:
    """Starts when it is made; ``total`` is the time since then.

    ``ticks`` int64 (1 + stages,) carries a clock to another process of the same machine: when it
    started, in nanoseconds of the machine's monotonic clock, and the time of every stage, where
    ``total`` is the time until it was handed over.
    """

    def __init__(self, ticks: NDArray[np.int64] | None = None) -> None:
        if ticks is None:
            ticks = np.zeros(1 + len(STAGES), np.int64)
            ticks[0] = time.monotonic_ns()
        self._ticks = np.array(ticks)
        self._handed_over = int(ticks[0] + ticks[1 + _TOTAL])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside towards the stage ``name`` of ``contracts.STAGES``."""
        start = time.monotonic_ns()
        try:
            yield
        finally:
            self.add(name, time.monotonic_ns() - start)

    def add(self, name: str, nanoseconds: int) -> None:
        """Count a time that was taken elsewhere; every stage belongs to one thread at a time."""
        self._ticks[1 + STAGES.index(name)] += nanoseconds

    def add_span(self, name: str, span: NDArray[np.int64]) -> None:
        """Count a time from ``span[0]`` to ``span[1]``, nanoseconds of the monotonic clock.

        What was over before this clock started was done for another request: it counts nothing.
        """
        start, end = (int(moment) for moment in span)
        if start >= self._ticks[0]:
            self.add(name, end - start)

    def add_wait(self, name: str) -> None:
        """Count the time since the ticks that this clock was made from were handed over."""
        self.add(name, time.monotonic_ns() - self._handed_over)

    def ticks(self) -> NDArray[np.int64]:
        """What another :class:`Clock` goes on from."""
        ticks = np.array(self._ticks)
        ticks[1 + _TOTAL] = time.monotonic_ns() - ticks[0]
        return ticks

    def milliseconds(self) -> NDArray[np.float32]:
        """The wire contract's ``stage_ms``, with ``total`` up to now."""
        spent = np.array(self._ticks[1:])
        spent[_TOTAL] = time.monotonic_ns() - self._ticks[0]
        return np.asarray(spent / 1e6, np.float32)
