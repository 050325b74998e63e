"""The numbers that a bundle brings along: parameters, thresholds, what clues to a mark count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.errors import ExportError

DEFAULTS: Mapping[str, float] = {"mark_threshold": 0.25, "heat_threshold": 0.5}
"""Of a bundle whose maker says nothing else."""

_EXAMPLE = '{"mark_threshold": 0.3}'


def read_defaults(file: Path | None, given: Sequence[str]) -> dict[str, float]:
    """Our own, those of ``file`` (an object of JSON), then ``given`` (NAME=NUMBER); later ones win.

    Raises :class:`~export.errors.ExportError` for what is no finite number; whether a bundle may
    have them is for its manifest to say.
    """
    defaults = dict(DEFAULTS)
    if file is not None:
        defaults.update(_numbers(file))
    for text in given:
        name, _, value = text.partition("=")
        number = _number(value)
        if number is None:
            raise ExportError(
                f"--default: got {text!r}, expected NAME=NUMBER, such as mark_threshold=0.3"
            )
        defaults[name] = number
    return defaults


def _numbers(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise ExportError(f"--defaults: {file} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(f"--defaults: {file} is no valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ExportError(f"--defaults: {file} is no object of JSON, expected {_EXAMPLE} or more")
    numbers = {}
    for name, value in found.items():
        number = None if isinstance(value, str | bool) else _number(value)
        if number is None:
            raise ExportError(
                f"--defaults: {file}: {name}: got {value!r:.60}, expected a finite number"
            )
        numbers[name] = number
    return numbers


def _number(value: object) -> float | None:
    """``value`` as a finite number, else None."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
