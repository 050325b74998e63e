"""The steps as Triton runs them, with a stand-in for Triton's own module."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from markcut.bundle import MANIFEST, Manifest, write_bundle
from markcut.contracts import (
    CLIPSEG,
    MARKED_OBJECT,
    MASK_SELECTION,
    POINT_SAMPLER,
    PREPROCESS,
    SAM2_DECODER,
    SAM2_ENCODER,
    SPAN,
    SPANS,
    VIEWS,
    YOLO11_SEG,
    ModelSpec,
)
from markcut.pipeline import Pipeline
from markcut.triton_backend import TritonModel, open_model, wire_parameters

Arrays = dict[str, NDArray[Any]]
IMAGE = MARKED_OBJECT.inputs[0].name
CODES = ("INTERNAL", "INVALID_ARG", "UNAVAILABLE")


class FakeTensor:
    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self.name, self._array = name, array

    def as_numpy(self) -> NDArray[Any]:
        return self._array


class FakeError(Exception):
    def __init__(self, message: str, code: str) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> str:
        return self._code


class FakeResponse:
    def __init__(self, output_tensors: Any = (), error: FakeError | None = None) -> None:
        self.tensors = {tensor.name: tensor for tensor in output_tensors}
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> FakeError | None:
        return self._error


class FakeRequest:
    def __init__(self, inputs: Arrays, parameters: str = "") -> None:
        self.tensors = {name: FakeTensor(name, array) for name, array in inputs.items()}
        self._parameters = parameters

    def parameters(self) -> str:
        return self._parameters


class FakeFamily:
    COUNTER = "counter"

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        self.counted: dict[str, int] = {}

    def Metric(self, *, labels: Mapping[str, str]) -> Any:  # noqa: N802
        key = ",".join(labels.values())

        def increment(by: int) -> None:
            self.counted[key] = self.counted.get(key, 0) + by

        return SimpleNamespace(increment=increment)


class FakeTriton:
    """As much of ``triton_python_backend_utils`` as the models use."""

    Tensor = FakeTensor
    InferenceResponse = FakeResponse
    MetricFamily = FakeFamily
    TRITONSERVER_MEMORY_CPU = 0

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.answer: Any = None
        self.Logger = SimpleNamespace(log_error=self.logged.append)

    @staticmethod
    def TritonError(message: str, code: str) -> FakeError:  # noqa: N802
        return FakeError(message, code)

    @staticmethod
    def PreferredMemory(kind: int, number: int) -> tuple[int, int]:  # noqa: N802
        return kind, number

    @staticmethod
    def get_input_tensor_by_name(request: FakeRequest, name: str) -> FakeTensor | None:
        return request.tensors.get(name)

    get_output_tensor_by_name = get_input_tensor_by_name

    def InferenceRequest(self, **wanted: Any) -> Any:  # noqa: N802
        return SimpleNamespace(exec=lambda: self.answer)


for code in CODES:
    setattr(FakeTriton.TritonError, code, code)


@pytest.fixture(scope="module")
def bundle(
    tiny_bundle: tuple[Manifest, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, *tiny_bundle)
    return folder


def opened(name: str, bundle: Path, triton: FakeTriton) -> TritonModel:
    """The model ``name`` of a repository whose version folder is the bundle itself."""
    settings = {"runtime": "onnxruntime", "threads": "1", "precision": "auto"}
    config = {"parameters": {key: {"string_value": value} for key, value in settings.items()}}
    return open_model(
        {
            "model_name": name,
            "model_repository": str(bundle.parent),
            "model_version": bundle.name,
            "model_config": json.dumps(config),
        },
        triton,
    )


def ask(model: TritonModel, inputs: Arrays, parameters: str = "") -> FakeResponse:
    (response,) = model.execute([FakeRequest(inputs, parameters)])
    assert isinstance(response, FakeResponse)
    return response


def outputs(response: FakeResponse) -> Arrays:
    assert response.error() is None, response.error()
    return {name: tensor.as_numpy() for name, tensor in response.tensors.items()}


def png() -> NDArray[np.uint8]:
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(held, "PNG")
    return np.frombuffer(held.getvalue(), np.uint8)


def feed(spec: ModelSpec, known: Arrays) -> Arrays:
    named = {**known, spec.inputs[0].name: known[VIEWS[spec.name]]} if spec.name in VIEWS else known
    return {tensor.name: named[tensor.name] for tensor in spec.inputs}


@pytest.mark.parametrize("threshold", [0.2, 1.0])
def test_the_steps_in_a_row_are_the_pipeline(bundle: Path, threshold: float) -> None:
    pytest.importorskip("onnxruntime")
    triton = FakeTriton()
    asked = {"mark_threshold": threshold, "seed": 3}
    known: Arrays = {IMAGE: png()}
    for spec in (PREPROCESS, CLIPSEG, YOLO11_SEG, POINT_SAMPLER, SAM2_ENCODER, SAM2_DECODER):
        given = outputs(
            ask(opened(spec.name, bundle, triton), feed(spec, known), json.dumps(asked))
        )
        if spec is YOLO11_SEG:
            triton.answer = FakeResponse([FakeTensor(n, a) for n, a in given.items()])
        if SPAN.name in given:
            given[SPANS[spec.name]] = given.pop(SPAN.name)
        known |= given
    answer = outputs(ask(opened(MASK_SELECTION.name, bundle, triton), known, json.dumps(asked)))
    with Pipeline.open(bundle, runtime="onnxruntime", threads=1) as pipeline:
        embedded = pipeline.infer({IMAGE: known[IMAGE]}, asked)
    assert list(answer) == list(embedded)
    for name in list(answer)[:-1]:
        assert answer[name].dtype == embedded[name].dtype, name
        assert answer[name].tolist() == embedded[name].tolist(), name


def test_a_callers_mistake_is_an_invalid_argument_with_its_sentence(bundle: Path) -> None:
    model = opened(PREPROCESS.name, bundle, FakeTriton())
    for inputs, parameters, words in (
        ({IMAGE: np.zeros(9, np.uint8)}, "", "image: got "),
        ({IMAGE: png()}, '{"seed": -1}', "seed: got -1"),
        ({IMAGE: png()}, '{"typo": 1}', "typo: got an unknown parameter"),
    ):
        error = ask(model, inputs, parameters).error()
        assert error is not None
        assert error.code() == "INVALID_ARG"
        assert words in error.message()


def test_a_bug_is_internal_and_its_traceback_stays_in_the_log(bundle: Path) -> None:
    triton = FakeTriton()
    error = ask(opened(MASK_SELECTION.name, bundle, triton), {}).error()
    assert error is not None
    assert error.code() == "INTERNAL"
    assert error.message().startswith("mask_selection: failed on this request (KeyError)")
    assert "Traceback" in triton.logged[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ('{"seed": "12", "mark_threshold": "0.1"}', {"seed": 12, "mark_threshold": 0.1}),
        ('{"mark_threshold": 0.3333333333333333}', {"mark_threshold": 1 / 3}),
        ('{"mark_threshold": ".5", "seed": "+7"}', {"mark_threshold": 0.5, "seed": 7}),
        ('{"seed": "1_0", "max_marks": " 3 "}', {"seed": "1_0", "max_marks": " 3 "}),
        (
            '{"seed": "\u0663", "mark_threshold": "nan"}',
            {"seed": "\u0663", "mark_threshold": "nan"},
        ),
        ('{"seed": "many", "prompt": "7"}', {"seed": "many", "prompt": "7"}),
        ('{"sequence_id": 5, "priority": 1, "typo": 1}', {"typo": 1}),
    ],
)
def test_parameters_from_the_wire(text: str, wanted: dict[str, object]) -> None:
    assert wire_parameters(text) == wanted


def test_a_step_needs_the_manifest_beside_it(tmp_path: Path) -> None:
    from markcut.errors import BundleError

    (tmp_path / "1").mkdir()
    with pytest.raises(BundleError, match=MANIFEST):
        opened(PREPROCESS.name, tmp_path / "1", FakeTriton())
