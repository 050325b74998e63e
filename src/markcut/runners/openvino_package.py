"""OpenVINO without its model converter, which ``import openvino`` would load along."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

_CONVERTER = "openvino.tools.ovc"
_IMPORTING = threading.Lock()


def import_openvino() -> ModuleType:
    """The package ``openvino``; ImportError where it is not installed.

    Its converter is never used here, takes half of the import's time, and reports every import to
    its makers over the network. ``openvino`` itself allows for its absence, so it is absent while
    the package is imported; who asks for ``openvino.convert_model`` later gets it then.
    """
    with _IMPORTING:
        if "openvino" in sys.modules:
            return importlib.import_module("openvino")  # waits for one that is under way
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # so Python refuses its import
        try:
            package = importlib.import_module("openvino")
        finally:
            del sys.modules[_CONVERTER]
        if not hasattr(package, "convert_model"):
            package.__getattr__ = _converter  # type: ignore[method-assign]
        return package


def _converter(name: str) -> Any:
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return importlib.import_module(_CONVERTER).convert_model
