"""What goes wrong by the user's hand: the commands print it without a traceback."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark cannot start or go on; the message says why and what to do."""
