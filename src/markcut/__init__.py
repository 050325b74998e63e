"""Markcut: which object did the person mark? One picture in; kind, ink, point and mask out.

This package is the engine: contracts, bundles, runners, the stages and the pipeline. Importing
it loads numpy and nothing heavier; the inference runtime comes with the first runner.
"""

from __future__ import annotations

from markcut.bundle import Bundle, Manifest, load_bundle
from markcut.contracts import KINDS, MODELS, STAGES
from markcut.errors import BundleError, InvalidInput, MarkcutError, RunnerError, RuntimeUnavailable
from markcut.runners import Runner, RunnerInfo, open_runner

__version__ = "0.1.0"

__all__ = [
    "KINDS",
    "MODELS",
    "STAGES",
    "Bundle",
    "BundleError",
    "InvalidInput",
    "Manifest",
    "MarkcutError",
    "Runner",
    "RunnerError",
    "RunnerInfo",
    "RuntimeUnavailable",
    "__version__",
    "load_bundle",
    "open_runner",
]
