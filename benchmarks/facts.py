"""What a figure depends on beside the code: machine, packages, bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import markcut
from markcut.bundle import MANIFEST, read_manifest
from markcut.machine import describe_machine

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "Pillow",
    "pycocotools",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
)


def facts(bundle: Path) -> dict[str, Any]:
    """The machine, the versions and the bundle, as what ``json.dumps`` takes.

    The hash of a bundle is that of its manifest, which holds the hashes of its files. Raises
    :class:`markcut.BundleError` where there is no sound manifest.
    """
    manifest = read_manifest(bundle)
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    machine = dataclasses.asdict(describe_machine())
    del machine["memory_available"]
    return {
        "markcut": markcut.__version__,
        "bundle": {"name": manifest.name, "manifest_sha256": digest},
        "machine": machine,
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def load_average() -> float | None:
    """Processes that wanted a core over the last minute; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
