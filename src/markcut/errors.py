"""Every error that Markcut raises on purpose.

::

    MarkcutError
     |-- InvalidInput (also a ValueError)   the caller's picture or parameter is wrong
     |-- BundleError                        the bundle on disk is incomplete, altered or foreign
     `-- RunnerError                        a model does not fit its runtime or its feeds
          `-- RuntimeUnavailable            the runtime, device or precision asked for is not here

Each message is one sentence or two: what came, what was wanted, what to do about it. Anything
else that escapes from this package is a bug.
"""

from __future__ import annotations

__all__ = ["BundleError", "InvalidInput", "MarkcutError", "RunnerError", "RuntimeUnavailable"]


class MarkcutError(Exception):
    """Root of this package's errors: catch it to catch all of them."""


class InvalidInput(MarkcutError, ValueError):
    """What the caller passed cannot be used; ``field`` names the tensor or parameter at fault."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class BundleError(MarkcutError):
    """A bundle's folder, manifest or file is missing, truncated, altered or of another format."""


class RunnerError(MarkcutError):
    """A graph is not what its specification says, or feeds do not fit it, or it failed to run."""


class RuntimeUnavailable(RunnerError):
    """The asked runtime, device or precision cannot be had here; nothing else was tried instead."""
