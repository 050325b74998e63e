"""What can go wrong on the way to a server: the command prints it without a traceback."""

from __future__ import annotations


class ServingError(Exception):
    """No server can be had; says why and what to do."""
