"""The ``tensorrt`` package as this machine has it: its version, and what it says while working."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from markcut.errors import RuntimeUnavailable

OLDEST, NEWEST = (8, 5), 11
"""The oldest version and the newest major version that this project's code is written for."""

_INSTALL = (
    "on a Jetson it comes with JetPack (docs/jetson.md), elsewhere: "
    "pip install tensorrt, in an environment with a GPU"
)


@dataclass(frozen=True)
class Package:
    """The imported module, its version as it spells it, and that version's first two numbers."""

    module: Any
    version: str
    age: tuple[int, int]


def import_tensorrt() -> Package:
    """The package; :class:`RuntimeUnavailable` where it is missing, broken, too old or too new."""
    try:
        import tensorrt
    except ImportError as error:
        raise RuntimeUnavailable(
            f"runtime: got 'tensorrt', which cannot be imported ({error}); {_INSTALL}"
        ) from None
    version = str(getattr(tensorrt, "__version__", ""))
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
    except ValueError:
        raise RuntimeUnavailable(
            f"runtime: got 'tensorrt', which has no version and is no full package; {_INSTALL}"
        ) from None
    if (major, minor) < OLDEST or major > NEWEST:
        raise RuntimeUnavailable(
            f"runtime: got TensorRT {version}, expected {OLDEST[0]}.{OLDEST[1]} to {NEWEST}; "
            "install another version, or another version of Markcut"
        )
    return Package(tensorrt, version, (major, minor))


def logger_of(package: Package) -> Any:
    """The process's TensorRT logger, with no errors yet: it keeps the last ones in ``errors``.

    One for all and for ever: TensorRT reports to the first logger that it was given, also what
    belongs to a later builder or runtime, for as long as any of them lives, and does not keep it
    alive. It prints nothing.
    """
    logger = _logger(package.module)
    logger.errors = []
    return logger


@functools.cache
def _logger(trt: Any) -> Any:
    base: Any = trt.ILogger
    serious = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Logger(base):  # type: ignore[misc]  # the module is not typed
        def __init__(self) -> None:
            base.__init__(self)  # what pybind11 asks for
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                self.errors = [*self.errors[-2:], " ".join(str(message).split())[:300]]

    return Logger()


def what_it_said(logger: Any) -> str:
    """The last errors of a logger of ours, for use in brackets inside a sentence."""
    return "; ".join(logger.errors) or "it gave no reason"
