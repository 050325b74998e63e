"""The strict way from a manifest's text to values: a fault names its key and what was wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from markcut.errors import BundleError

MANIFEST = "manifest.json"
"""The file's name, and the key of all that it says."""

_NUMBERS = re.compile(r"\[\s+([-+.\deE,\s]+?)\s+\]")


def read_json(text: str | bytes) -> dict[str, Any]:
    """The object that ``text`` spells: no key twice, none of JavaScript's constants."""
    try:
        raw = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{MANIFEST} is no valid JSON ({error}); export the bundle again"
        ) from None
    return as_object(raw, MANIFEST)


def to_text(fields: Mapping[str, Any]) -> str:
    """JSON for people, a list of numbers on one line; ValueError for what is not finite."""
    text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"


def wrong(key: str, came: object, wanted: str) -> BundleError:
    """The error for ``key``: what came and what was wanted."""
    shown = json.dumps(came, default=repr, ensure_ascii=False)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    where = key if key == MANIFEST else f"{MANIFEST}: {key}"
    return BundleError(f"{where}: got {shown}, expected {wanted}")


def as_object(value: object, key: str) -> dict[str, Any]:
    """``value`` as an object of JSON."""
    if not isinstance(value, dict):
        raise wrong(key, value, "an object")
    return value


def check_keys(fields: Mapping[str, object], key: str, wanted: tuple[str, ...]) -> None:
    """Raise unless ``fields`` has the keys ``wanted`` and no other."""
    missing = [name for name in wanted if name not in fields]
    unknown = [name for name in fields if name not in wanted]
    if missing or unknown:
        fault = f"no {missing[0]!r}" if missing else f"the unknown key {unknown[0]!r}"
        raise wrong(key, list(fields), f"the keys {', '.join(wanted)}; it has {fault}")


def check_names(key: str, came: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Raise unless ``came`` has the names ``wanted``, in any order."""
    if set(came) != set(wanted):
        raise wrong(key, list(came), f"exactly {', '.join(wanted)}")


def as_text(value: object, key: str) -> str:
    """``value`` as a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise wrong(key, value, "a text that is not empty")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise wrong(key, ascii(value), "a text that can be written in UTF-8") from None
    return value


def as_texts(value: object, key: str) -> tuple[str, ...]:
    """``value`` as a list of such texts."""
    if not isinstance(value, list):
        raise wrong(key, value, "a list of texts")
    return tuple(as_text(item, f"{key}[{i}]") for i, item in enumerate(value))


def as_integer(value: object, key: str) -> int:
    """``value`` as a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(key, value, "a whole number")
    return value


def as_number(value: object, key: str) -> float:
    """``value`` as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(key, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise wrong(key, value, "a number that fits a float") from None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return keys
