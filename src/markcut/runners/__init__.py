"""Inference runtimes behind one seam: ``open_runner`` chooses, ``Runner.infer`` runs.

The runtime is chosen in this module and nowhere else. The packages are imported when a runner
is opened, not before.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Mapping
from pathlib import Path

from markcut.contracts import ModelSpec
from markcut.errors import InvalidInput, RuntimeUnavailable
from markcut.runners.base import (
    Array,
    Resident,
    Runner,
    RunnerInfo,
    Value,
    check_feeds,
    infer_resident,
)

__all__ = [
    "RUNTIMES",
    "TENSORRT",
    "Array",
    "Resident",
    "Runner",
    "RunnerInfo",
    "Value",
    "check_feeds",
    "choose_runtime",
    "infer_resident",
    "open_runner",
]

RUNTIMES = ("onnxruntime", "openvino")
"""Runtimes that run a bundle as it is, wherever they are installed."""

TENSORRT = "tensorrt"
"""The runtime that runs engines, which are built from a bundle on the machine that runs them."""


def open_runner(
    spec: ModelSpec,
    onnx: bytes,
    *,
    runtime: str = "auto",
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    fixed: Mapping[str, int] | None = None,
    engines: Path | None = None,
    lean: bool = False,
) -> Runner:
    """Load the ONNX bytes of one model and return what runs them.

    ``onnx`` should come from a verified bundle. ``runtime`` is ``"auto"`` (see
    :func:`choose_runtime`), one of :data:`RUNTIMES` or :data:`TENSORRT`, which runs what
    ``python -m export engines`` built from this very ``onnx`` into the folder ``engines``.
    ``device`` is ``"cpu"``, ``"cuda"`` (onnxruntime, tensorrt) or another device that OpenVINO
    lists, in lower case; by default ``"cpu"``, and ``"cuda"`` for TensorRT. ``threads`` limits the
    CPU threads; ``precision`` is that of the arithmetic, as the graph is typed unless asked;
    ``fixed`` gives values to symbols of the specification, ``{"B": 1}``, which feeds must then
    have and which lets OpenVINO compile static shapes. ``lean`` spends time to save memory: ONNX
    Runtime on the CPU then keeps none between calls; the other runtimes have no such choice.

    What cannot be had raises :class:`RuntimeUnavailable`: nothing falls back. A graph that does
    not fit ``spec`` raises :class:`RunnerError`.
    """
    known = ("auto", *RUNTIMES, TENSORRT)
    if runtime not in known:
        raise InvalidInput("runtime", f"got {runtime!r}, expected one of {', '.join(known)}")
    if threads is not None and threads < 1:
        raise InvalidInput("threads", f"got {threads}, expected at least 1, or None for all")
    if runtime == TENSORRT:
        from markcut.runners.tensorrt_runner import DEVICE, open_engine

        return open_engine(
            spec, onnx, engines=engines, device=device or DEVICE, precision=precision, fixed=fixed
        )
    device = device or "cpu"
    if runtime == "auto":
        runtime = choose_runtime(device=device)
    if runtime == "openvino":
        from markcut.runners.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(
            spec, onnx, device=device, threads=threads, precision=precision, fixed=fixed
        )
    from markcut.runners.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(
        spec, onnx, device=device, threads=threads, precision=precision, fixed=fixed, lean=lean
    )


def choose_runtime(*, device: str = "cpu") -> str:
    """The runtime that ``"auto"`` means here, from what is installed and the processor's kind.

    On an x86-64 CPU OpenVINO where it is installed, everywhere else ONNX Runtime.
    """
    installed = [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]
    if not installed:
        raise RuntimeUnavailable(
            "runtime: got 'auto', but neither onnxruntime nor openvino is installed; "
            "install one: pip install -e '.[onnxruntime]'"
        )
    if device == "cuda":
        return "onnxruntime"
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if "openvino" in installed and (x86 or device != "cpu"):
        return "openvino"
    return installed[0]
