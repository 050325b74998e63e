"""The embedded transport against a stand-in for the engine's pipeline."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from markcut.errors import BundleError, InvalidInput, RunnerError
from markcut_client import (
    Client,
    EmbeddedTransport,
    InferenceError,
    ParameterError,
    PictureError,
    Request,
    TransportError,
)
from markcut_client.transports import embedded


class Pipeline:
    opened: dict[str, Any]
    problem: Exception | None = None
    closed = 0

    @classmethod
    def open(cls, folder: Any, **options: Any) -> Pipeline:
        if cls.problem is not None:
            raise cls.problem
        cls.opened = {"folder": folder, **options}
        return cls()

    def infer(self, inputs: Any, parameters: Any) -> Any:
        if self.problem is not None:
            raise self.problem
        return {"inputs": inputs, "parameters": parameters}

    def prompt(self, inputs: Any, parameters: Any) -> Any:
        return {**self.infer(inputs, parameters), "prompted": True}

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> type[Pipeline]:
    module = ModuleType("markcut.pipeline")
    fresh = type("Pipeline", (Pipeline,), {})
    module.Pipeline = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "markcut.pipeline", module)
    return fresh


def test_passes_everything_on(pipeline: type[Pipeline]) -> None:
    asked: dict[str, Any] = {
        "runtime": "openvino",
        "device": "cpu",
        "threads": 2,
        "precision": "bf16",
    }
    transport = EmbeddedTransport("bundle", **asked)
    assert pipeline.opened == {"folder": "bundle", **asked}
    outputs = transport.infer(
        Request("marked_object", {"image": np.zeros(1, np.uint8)}, {"seed": 1})
    )
    assert outputs["parameters"] == {"seed": 1}
    with pytest.raises(ParameterError, match="timeout: the engine in this process"):
        transport.infer(Request("marked_object", {}, {}, timeout=1))
    assert transport.infer(Request("prompted_object", {}, {}))["prompted"]
    transport.close()
    transport.close()
    assert pipeline.closed == 1
    with pytest.raises(TransportError, match="it is closed"):
        transport.infer(Request("marked_object", {}, {}))


def test_address(pipeline: type[Pipeline]) -> None:
    Client("embedded:some/bundle")
    left_open = {"runtime": "auto", "device": None, "threads": None, "precision": None}
    assert pipeline.opened == {"folder": "some/bundle", **left_open}


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (BundleError("x: no manifest"), TransportError),
        (RunnerError("no runtime"), TransportError),
        (InvalidInput("threads", "got 0"), ParameterError),
    ],
)
def test_opening_fails(pipeline: type[Pipeline], problem: Exception, kind: type) -> None:
    pipeline.problem = problem
    with pytest.raises(kind, match=str(problem)):
        EmbeddedTransport("bundle")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (InvalidInput("image", "got a GIF"), PictureError),
        (InvalidInput("prompt", "got 'x'"), ParameterError),
        (RunnerError("sam2_encoder: failed"), InferenceError),
        (MemoryError(), InferenceError),
    ],
)
def test_inference_fails(pipeline: type[Pipeline], problem: Exception, kind: type) -> None:
    transport = EmbeddedTransport("bundle")
    pipeline.problem = problem
    with pytest.raises(kind, match=str(problem) or "memory"):
        transport.infer(Request("marked_object", {}, {}))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("markcut", r"the engine \(package markcut\) is not installed; in the checkout"),
        ("markcut.pipeline", r"the engine \(package markcut\) is not installed"),
        ("cv2", "the engine needs the package cv2, which is not installed; in the checkout"),
    ],
)
def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str, message: str) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(embedded.importlib, "import_module", fail)
    with pytest.raises(TransportError, match=message):
        EmbeddedTransport("bundle")


def test_no_earlier_mask_has_the_engine_s_size(pipeline: type[Pipeline]) -> None:
    pipeline.manifest = SimpleNamespace(sizes={"S": 32})  # type: ignore[attr-defined]
    transport = EmbeddedTransport("bundle")
    inputs = {"earlier_logits": np.full((2, 1, 1), np.nan, np.float32)}
    asked = transport.infer(Request("prompted_object", inputs, {}))["inputs"]
    assert asked["earlier_logits"].shape == (2, 8, 8)
    given = {"earlier_logits": np.zeros((2, 8, 8), np.float32)}
    assert transport.infer(Request("prompted_object", given, {}))["inputs"] is given
