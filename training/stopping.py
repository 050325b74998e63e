"""Ending in order at SIGTERM and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class Stop:
    """Whether a signal asked to end."""

    def __init__(self) -> None:
        self.asked = False
        self._cut = False

    def unless_asked(self, work: Callable[[], Result]) -> Result | None:
        """What ``work`` returns; None where a stop was asked before, or cut it short.

        For work that nothing is lost with: a stop during anything else waits for its end.
        """
        try:
            self._cut = True
            return None if self.asked else work()
        except KeyboardInterrupt:
            if not self.asked:
                raise
            return None
        finally:
            self._cut = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signals' handler; a second Ctrl-C interrupts at once."""
        at_once = self._cut or (self.asked and number == signal.SIGINT)
        # a stop often comes twice, to the process and to its group: one of them cuts
        self.asked, self._cut = True, False
        if at_once:
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """A ``Stop`` that SIGTERM and Ctrl-C set as long as the block runs."""
    stop = Stop()
    before = {s: signal.signal(s, stop.handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
