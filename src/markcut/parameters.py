"""The parameters of one request, proved to be usable before anything is computed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from markcut.errors import InvalidInput

__all__ = ["MAX_MARKS", "MAX_POINTS", "Parameters", "parse_parameters", "unknown_parameter"]

MAX_MARKS = 32
"""The most marks that one picture may be answered with: YOLO's own limit."""

MAX_POINTS = 6
"""The most foreground points of one prompt: what SAM2 is trained with."""

_LONGEST_NAME = 40  # characters of a name that a message can begin with
_MAX_SEED = 2**63 - 1
_DEFAULT_MARKS = 16
_DEFAULT_POINTS = 3


@dataclass(frozen=True)
class Parameters:
    """What a request may ask for; ``prompt`` is one of the bundle's, None its default.

    ``mark_threshold`` is the least confidence of a mark, 0..1; ``points_per_mark`` the most
    foreground points of one prompt; ``seed`` fixes every random choice.
    """

    mark_threshold: float
    seed: int = 0
    max_marks: int = _DEFAULT_MARKS
    points_per_mark: int = _DEFAULT_POINTS
    prompt: str | None = None


_NAMES = ("seed", "max_marks", "mark_threshold", "points_per_mark", "prompt")


def parse_parameters(
    given: Mapping[str, object], *, defaults: Mapping[str, float], prompts: Sequence[str]
) -> Parameters:
    """The parameters ``given``, completed with a bundle's ``defaults`` and then with our own.

    ``prompts`` are the bundle's. Raises :class:`InvalidInput`, whose field is the parameter:
    an unknown name, another type (numbers in strings too), NaN, out of range, a prompt that the
    bundle does not hold.
    """
    for name in given:
        if name not in _NAMES:
            raise unknown_parameter(name, f"expected some of {', '.join(_NAMES)}")
    threshold = _number(given, "mark_threshold", defaults["mark_threshold"])
    marks = int(defaults.get("max_marks", _DEFAULT_MARKS))
    points = int(defaults.get("points_per_mark", _DEFAULT_POINTS))
    return Parameters(
        mark_threshold=threshold,
        seed=_integer(given, "seed", 0, low=0, high=_MAX_SEED),
        max_marks=_integer(given, "max_marks", marks, low=1, high=MAX_MARKS),
        points_per_mark=_integer(given, "points_per_mark", points, low=1, high=MAX_POINTS),
        prompt=_prompt(given, prompts),
    )


def unknown_parameter(name: str, wanted: str) -> InvalidInput:
    """The error of a parameter that nobody knows, whose name may be anything."""
    name = str(name)  # in this process it may be anything at all
    if name.isidentifier() and len(name) <= _LONGEST_NAME:
        return InvalidInput(name, f"got an unknown parameter, {wanted}")
    return InvalidInput("parameters", f"got one named {_show(name)}, {wanted}")


def _integer(given: Mapping[str, object], name: str, default: int, *, low: int, high: int) -> int:
    if name not in given:
        return default
    value = given[name]
    wanted = f"expected a whole number from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InvalidInput(name, f"got {_show(value)}, {wanted}")
    if not low <= int(value) <= high:
        raise InvalidInput(name, f"got {_show(value)}, {wanted}")
    return int(value)


def _number(given: Mapping[str, object], name: str, default: float) -> float:
    if name not in given:
        return float(default)
    value = given[name]
    wanted = "expected a number from 0 to 1"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidInput(name, f"got {_show(value)}, {wanted}")
    if not (math.isfinite(float(value)) and 0 <= float(value) <= 1):
        raise InvalidInput(name, f"got {_show(value)}, {wanted}")
    return float(value)


def _prompt(given: Mapping[str, object], prompts: Sequence[str]) -> str | None:
    value = given.get("prompt")
    known = ", ".join(repr(prompt) for prompt in prompts)
    if "prompt" in given and (not isinstance(value, str) or value not in prompts):
        raise InvalidInput("prompt", f"got {_show(value)}, expected one of the bundle's: {known}")
    return value if isinstance(value, str) else None


def _show(value: object) -> str:
    """A value as a message shows it: its text, its type, and never much of it."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return str(value)[:40]
    text = repr(value)
    return f"{text[:60]}{'...' if len(text) > 60 else ''} ({type(value).__name__})"
