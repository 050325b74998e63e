"""What goes wrong by the user's hand: the command prints it without a traceback."""

from __future__ import annotations


class ExportError(Exception):
    """A checkpoint cannot be exported, or its graph is not what it should be; says what to do."""
