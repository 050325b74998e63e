"""Protocol buffers' text format, as much of it as a Triton configuration takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Enum:
    """A name that is written without quotes: ``KIND_CPU``."""

    name: str


Value = str | int | bool | Enum | Mapping[str, "Value"] | Sequence["Value"]


def to_pbtxt(message: Mapping[str, Value], *, indent: str = "") -> str:
    """``message`` as text, one field a line.

    A mapping is a message, a list a repeated field. A protocol map is a list of messages with
    ``key`` and ``value``.
    """
    lines = []
    for name, value in message.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name} {{", to_pbtxt(value, indent=indent + "  "), f"{indent}}}"]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            lines += _repeated(name, value, indent)
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}")
    return "\n".join(lines)


def _repeated(name: str, values: Sequence[Value], indent: str) -> list[str]:
    if not any(isinstance(value, Mapping) for value in values):
        return [f"{indent}{name}: [{', '.join(map(_scalar, values))}]"]
    lines: list[str] = []
    for value in values:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name}: messages and plain values in one list")
        lines += [f"{indent}{name} {{", to_pbtxt(value, indent=indent + "  "), f"{indent}}}"]
    return lines


def _scalar(value: Value) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)
    raise TypeError(f"{value!r} has no text form")
