"""``markcut doctor`` on what a diagnosis may say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Run = Callable[..., Any]

REPORT = {
    "version": "0.1.0",
    "machine": {
        "python": "3.11.7",
        "platform": "Linux",
        "cpu": "Test CPU",
        "cores": 2,
        "cpu_flags": ["avx2"],
        "memory": 8 << 30,
        "memory_available": 4 << 30,
        "gpus": ["Test GPU"],
        "jetson": "Orin",
        "power_mode": "MAXN",
    },
    "runtimes": [
        {"runtime": "openvino", "status": "ran", "device": "cpu", "precision": "bf16",
         "version": "2026.4", "ms": 288.4, "problem": ""},
        {"runtime": "tensorrt", "status": "absent", "device": "", "precision": "",
         "version": "", "ms": 0.0, "problem": "tensorrt is not installed"},
    ],
    "auto": "openvino",
    "healthy": True,
    "cache": "/home/me/.cache/markcut",
    "bundle": {
        "folder": "artifacts/demo", "name": "demo", "bytes": 31_000_000, "problem": "",
        "models": [
            {"model": "clipseg", "runtime": "openvino", "device": "cpu", "precision": "fp32",
             "load_ms": 812.0, "infer_ms": 35.2, "problem": ""},
            {"model": "sam2_encoder", "runtime": "", "device": "", "precision": "",
             "load_ms": 0.0, "infer_ms": 0.0, "problem": "not finite on a grey picture"},
        ],
    },
}  # fmt: skip


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    asked: list[Path | None] = []

    def diagnose(bundle: Path | None) -> SimpleNamespace:
        asked.append(bundle)
        return SimpleNamespace(to_json=lambda: REPORT)

    module = ModuleType("markcut.doctor")
    module.diagnose = diagnose  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "markcut.doctor", module)
    return asked


def test_doctor(run: Run, diagnosed: list[Path | None]) -> None:
    done = run("doctor")
    assert done.status == 0
    assert diagnosed == [Path("artifacts/demo")]
    for text in (
        "Test CPU, 2 cores (avx2), 8.0 GiB memory (4.0 free)",
        "Orin, power mode MAXN",
        "GPU: Test GPU",
        "chosen by auto",
        "tensorrt is not installed",
        "bundle demo: artifacts/demo, 31.0 MB",
        "not finite on a grey picture",
        "ready: markcut runs on openvino\n",
    ):
        assert text in done.out
    assert json.loads(run("doctor", "--json", "--bundle", "b").out) == REPORT
    assert diagnosed[-1] == Path("b")


def test_doctor_finds_something(
    run: Run, diagnosed: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REPORT, "healthy", False)
    done = run("doctor")
    assert done.status == 1
    assert "not ready: see the problems above" in done.out
    monkeypatch.setitem(REPORT, "auto", "")
    monkeypatch.setitem(REPORT, "bundle", None)
    done = run("doctor")
    assert "no inference runtime is installed" in done.out
