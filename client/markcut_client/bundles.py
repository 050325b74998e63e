"""Which bundle the command uses when none is named."""

from __future__ import annotations

import os
from pathlib import Path

from markcut_client.errors import TransportError

VARIABLE = "MARKCUT_BUNDLE"
DEMO = Path("artifacts/demo")


def default_bundle() -> Path | None:
    """The folder that MARKCUT_BUNDLE names, else artifacts/demo where it is; else None."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return DEMO if DEMO.is_dir() else None


def require_bundle() -> Path:
    """As :func:`default_bundle`; :class:`TransportError` where there is none."""
    bundle = default_bundle()
    if bundle is None:
        raise TransportError(
            f"no bundle: pass --bundle DIR, set {VARIABLE}, or run this where {DEMO} lies"
        )
    return bundle
