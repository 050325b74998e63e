"""When to try again: seldom, later each time, and less the more often it fails.

A request computes the same answer however often it is asked, so repeating it is safe; what is
not safe is that everybody repeats while a server is down or behind.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

MAX_RETRIES = 2
_FIRST_DELAY = 0.1  # seconds; doubles with every try, half of it by chance
_TOKENS = 10.0  # a failure takes one, an answer gives a tenth; below half of them nobody retries
_REFUND = 0.1


class RetryBudget:
    """What all requests of one transport may spend on trying again; safe between threads."""

    def __init__(self) -> None:
        self._tokens = _TOKENS
        self._lock = threading.Lock()

    def answered(self) -> None:
        """An answer came: a part of what failures took comes back."""
        with self._lock:
            self._tokens = min(_TOKENS, self._tokens + _REFUND)

    def spend(self) -> bool:
        """A try failed; whether the budget allows another."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > _TOKENS / 2


class Attempts:
    """The tries of one request."""

    def __init__(self, budget: RetryBudget, *, chance: Callable[[], float] = random.random) -> None:
        self._budget = budget
        self._chance = chance
        self._retries = 0

    def delay(self, time_left: float) -> float | None:
        """Seconds to wait after a failure that another try may mend; None: give up.

        ``time_left`` is until the deadline: a wait that would reach it is not worth beginning.
        """
        may_retry = self._budget.spend()
        if self._retries == MAX_RETRIES or not may_retry:
            return None
        longest = _FIRST_DELAY * (1 << self._retries)
        delay = longest * (0.5 + 0.5 * self._chance())
        if delay >= time_left:
            return None
        self._retries += 1
        return delay
