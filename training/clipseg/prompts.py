"""The texts that the reduced CLIPSeg understands, and the kinds of marks that each one means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from markcut.contracts import KINDS

ALL_MARKS: tuple[str, ...] = ("annotated", "a drawn mark")
"""Texts that mean every mark."""

BY_KIND: Mapping[str, str] = MappingProxyType(
    {
        "circle": "a drawn circle",
        "arrow": "a drawn arrow",
        "tick": "a drawn tick",
        "cross": "a drawn cross",
        "dot": "a drawn dot",
        "line": "a drawn line",
        "other": "a scrawl",
    }
)
"""The text that means one kind alone."""

PROMPTS: tuple[str, ...] = ALL_MARKS + tuple(BY_KIND[kind] for kind in KINDS)
"""Every text; kind ``k`` has the number ``len(ALL_MARKS) + k``."""
