"""The request parameters: their ranges, checked before anything is sent."""

from __future__ import annotations

import math
import numbers

from markcut_client.errors import ParameterError
from markcut_client.transports.base import Parameter

MAX_CONCURRENCY = 64
"""The most requests that one call keeps under way."""

_LONGEST = 86_400  # seconds of a timeout
_LIMIT = 2**63  # of what any transport can carry; the engine knows narrower ones


def request_parameters(
    *,
    seed: int | None = None,
    max_marks: int | None = None,
    mark_threshold: float | None = None,
    points_per_mark: int | None = None,
    prompt: str | None = None,
) -> dict[str, Parameter]:
    """The parameters that were given; None leaves the choice to the bundle.

    Raises :class:`ParameterError` for one that is of another kind or out of its range.
    """
    parameters: dict[str, Parameter] = {}
    if seed is not None:
        parameters["seed"] = _whole("seed", seed, at_least=0)
    if max_marks is not None:
        parameters["max_marks"] = _whole("max_marks", max_marks, at_least=1)
    if mark_threshold is not None:
        parameters["mark_threshold"] = _fraction("mark_threshold", mark_threshold)
    if points_per_mark is not None:
        parameters["points_per_mark"] = _whole("points_per_mark", points_per_mark, at_least=1)
    if prompt is not None:
        if not isinstance(prompt, str) or not prompt:
            raise ParameterError(f"prompt: got {prompt!r}, expected one of the bundle's prompts")
        parameters["prompt"] = prompt
    return parameters


def check_timeout(timeout: object) -> float | None:
    """``timeout`` in seconds as it may be sent; raises :class:`ParameterError`."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
        raise ParameterError(f"timeout: got {timeout!r}, expected seconds, for example 2.5")
    seconds = float(timeout)
    if not 0 < seconds <= _LONGEST:
        raise ParameterError(
            f"timeout: got {timeout!r}, expected seconds from above 0 to {_LONGEST}"
        )
    return seconds


def check_concurrency(concurrency: int) -> int:
    """How many requests may be under way at once; raises :class:`ParameterError`."""
    number = _whole("concurrency", concurrency, at_least=1)
    if number > MAX_CONCURRENCY:
        raise ParameterError(f"concurrency: got {number}, expected at most {MAX_CONCURRENCY}")
    return number


def _whole(name: str, value: object, *, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ParameterError(f"{name}: got {value!r}, expected a whole number")
    number = int(value)
    if number < at_least:
        raise ParameterError(f"{name}: got {value}, expected {at_least} or more")
    if number >= _LIMIT:
        raise ParameterError(f"{name}: got {value}, expected at most {_LIMIT - 1}")
    return number


def _fraction(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ParameterError(f"{name}: got {value!r}, expected a number from 0 to 1")
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise ParameterError(f"{name}: got {number:g}, expected a number from 0 to 1")
    return number
