"""What a bundle brings along beside networks: parameters, thresholds, what clues count."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.errors import ExportError
from markcut.belief_weights import Weights, parse_weights
from markcut.errors import BundleError
from markcut.manifest_fields import MANIFEST

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


def read_belief(file: Path | None) -> Weights | None:
    """What the clues to a mark count, from ``file``; None without one.

    Raises :class:`~export.errors.ExportError` for what is none.
    """
    if file is None:
        return None
    try:
        return parse_weights(
            _object(file, "--belief", "what `benchmarks calibrate` writes"), "belief"
        )
    except BundleError as error:
        raise ExportError(f"--belief: {file}: {str(error).removeprefix(f'{MANIFEST}: ')}") from None


def _object(file: Path, flag: str, wanted: str) -> dict[str, Any]:
    """The object of JSON in ``file``, which ``flag`` names."""
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise ExportError(f"{flag}: {file} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{flag}: {file} is no valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ExportError(f"{flag}: {file} is no object of JSON, expected {wanted}")
    return found


def _numbers(file: Path) -> dict[str, float]:
    numbers = {}
    for name, value in _object(file, "--defaults", f"{_EXAMPLE} or more").items():
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
