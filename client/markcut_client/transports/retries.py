"""When to try again: seldom, later each time, and less the more often it fails.

A request computes the same answer however often it is asked, so repeating it is safe; what is
not safe is that everybody repeats while a server is behind. Where nobody listens at all, but a
server did before, it is being started again: that is waited for, a while.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

MAX_RETRIES = 2
_FIRST_DELAY = 0.1  # seconds; doubles with every try, half of it by chance
_TOKENS = 10.0  # a failure takes one, an answer gives a tenth; below half of them nobody retries
_REFUND = 0.1
PATIENCE = 15.0
"""Seconds after which a server that answered before, and cannot be reached, is given up."""
_LONGEST_DELAY = 1.0


class RetryBudget:
    """What all requests of one transport may spend on trying again; safe between threads."""

    def __init__(self) -> None:
        self._tokens = _TOKENS
        self._known = False  # somebody answered once
        self._away_since: float | None = None
        self._lock = threading.Lock()

    def answered(self) -> None:
        """An answer came: a part of what failures took comes back."""
        with self._lock:
            self._tokens = min(_TOKENS, self._tokens + _REFUND)
            self._known = True
            self._away_since = None

    def waits_for_return(self) -> bool:
        """Nobody could be reached; whether somebody who answered before may come back soon."""
        with self._lock:
            if self._away_since is None:
                self._away_since = time.monotonic()
            return self._known and time.monotonic() - self._away_since < PATIENCE

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
        self._waits = self._lost = 0

    def delay(self, time_left: float, *, reached: bool = True, lost: bool = False) -> float | None:
        """Seconds to wait after a failure that another try may mend; None: give up.

        ``time_left`` is until the deadline: a wait that would reach it is not worth beginning.
        ``reached`` is False where nobody listened, which costs a server nothing; ``lost`` is True
        where the connection broke while it was asked, which the request itself may have caused.
        """
        if lost:
            self._lost += 1
            if self._lost > 1:
                return None
        if not reached and self._budget.waits_for_return():
            tries = self._waits
            self._waits += 1
        else:
            if not self._budget.spend() or self._retries == MAX_RETRIES:
                return None
            tries = self._retries
            self._retries += 1
        longest = min(_FIRST_DELAY * 2.0**tries, _LONGEST_DELAY)
        delay = longest * (0.5 + 0.5 * self._chance())
        return delay if delay < time_left else None
