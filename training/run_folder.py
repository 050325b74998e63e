"""``recipe.json``: what the run in a folder was started with, and that it goes on the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.files import replacing

RECIPE = "recipe.json"

# these may change when a run goes on, or the checkpoint itself does not fit them
_FREE = frozenset(
    {"task", "parameters", "minutes", "threads", "workers", "device", "bf16", "torch"}
)
_OPTIONS = {"tuned": "weights"}  # recorded under another name than the option's


def check_same(out: Path, recipe: Mapping[str, Any]) -> None:
    """TrainingError where ``recipe`` would make another run of the one in ``out``.

    Keys that either of them lacks are left alone: earlier versions recorded fewer.
    """
    before, now = _read(out / RECIPE), json.loads(_text(recipe))
    differing = [
        f"--{_OPTIONS.get(key, key).replace('_', '-')} {_shown(value)} "
        f"(at its start: {_shown(before[key])})"
        for key, value in now.items()
        if key in before and key not in _FREE and before[key] != value
    ]
    if differing:
        raise TrainingError(
            f"{out} holds a run that cannot go on with {', '.join(differing)}: give "
            "what it was started with, or another --out, or start over there with --fresh"
        )


def write_recipe(out: Path, recipe: Mapping[str, Any]) -> None:
    """Write ``recipe`` into ``out``."""
    with replacing(out / RECIPE) as temporary:
        temporary.write_text(_text(recipe), encoding="utf-8")


def _text(recipe: Mapping[str, Any]) -> str:
    return json.dumps(recipe, indent=2, default=str) + "\n"


def _read(path: Path) -> dict[str, Any]:
    """What is recorded there; nothing where that is lost, as the checkpoint alone goes on too."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "given" if value else "not given"
    return f"{value:g}" if isinstance(value, float) else str(value)
