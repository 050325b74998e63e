"""What a real server answers is what the embedded pipeline answers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from markcut.contracts import MARKED_OBJECT, PROMPTED_OBJECT, SAM2_ENCODER, STAGES
from markcut.nearer import nearer_looks
from markcut.pipeline import Pipeline
from tests.serving.asking import IMAGE, ask, picture, same
from tests.serving.conftest import Serving

_, COORDS, LABELS, BOXES, EARLIER = (tensor.name for tensor in PROMPTED_OBJECT.inputs)
STAGE_MS = MARKED_OBJECT.outputs[-1].name
LOW = {"mark_threshold": 0.05}


@pytest.mark.parametrize(
    ("image", "parameters"),
    [
        (picture(1), LOW),
        (picture(2, kind="JPEG"), {**LOW, "seed": 7, "max_marks": 1}),
        (picture(3, kind="WEBP"), {"mark_threshold": 1 / 3, "points_per_mark": 1}),
        (picture(4, kind="BMP"), {}),
        (picture(5, marks=0), {"mark_threshold": 1.0}),
    ],
    ids=["png", "jpeg", "webp", "bmp", "no-marks"],
)
def test_the_answer_is_the_embedded_one_byte_for_byte(
    server: Serving, pipeline: Pipeline, image: Any, parameters: Mapping[str, Any]
) -> None:
    answer = ask(server.ports.grpc, {IMAGE: image}, parameters=parameters)
    same(answer, pipeline.infer({IMAGE: image}, parameters))
    if parameters.get("mark_threshold") == 1.0:
        assert answer[MARKED_OBJECT.outputs[0].name].shape == (0,)


def test_so_is_that_of_a_picture_at_which_sam2_looks_again(
    server: Serving, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def remembered(*args: Any, **options: Any) -> Any:
        looks.append(nearer_looks(*args, **options))
        return looks[-1]

    monkeypatch.setattr("markcut.chain.nearer_looks", remembered)
    for seed in range(4):
        inputs = {IMAGE: picture(seed, marks=1, shrunk=3)}
        same(ask(server.ports.grpc, inputs, parameters=LOW), pipeline.infer(inputs, LOW))
    assert max(map(len, looks)) > 1


def test_numbers_may_come_as_text_and_tritons_own_parameters_do_not_disturb(
    server: Serving, pipeline: Pipeline
) -> None:
    text = {"mark_threshold": "0.05", "seed": "3"}
    answer = ask(server.ports.grpc, {IMAGE: picture(1)}, parameters=text)
    same(answer, pipeline.infer({IMAGE: picture(1)}, {**LOW, "seed": 3}))


def prompts(image: Any, side: int) -> dict[str, Any]:
    return {
        IMAGE: image,
        COORDS: np.array([[[40, 50]], [[60, 20]]], np.float32),
        LABELS: np.array([[1], [-1]], np.int32),
        BOXES: np.array([[np.nan] * 4, [10, 20, 90, 100]], np.float32),
        EARLIER: np.full((2, side // 4, side // 4), np.nan, np.float32),
    }


def test_given_prompts_too_and_the_second_costs_no_encoder(
    server: Serving, pipeline: Pipeline
) -> None:
    inputs = prompts(picture(6), pipeline.manifest.sizes["S"])
    encoder = STAGES.index(SAM2_ENCODER.name)
    first = ask(server.ports.grpc, inputs, PROMPTED_OBJECT)
    same(first, pipeline.prompt(inputs))
    assert first[STAGE_MS][encoder] > 0
    inputs[EARLIER] = first[PROMPTED_OBJECT.outputs[2].name]
    second = ask(server.ports.grpc, inputs, PROMPTED_OBJECT)
    same(second, pipeline.prompt(inputs))
    assert second[STAGE_MS][encoder] == 0


@pytest.mark.parametrize(
    ("image", "parameters", "words"),
    [
        (np.zeros(0, np.uint8), {}, "image: got no bytes"),
        (np.zeros(9, np.uint8), {}, "image: got 9 bytes"),
        (picture(1)[:300], {}, "image: got a truncated"),
        (picture(1)[None], {}, "image"),
        (picture(1), {"seed": -1}, "seed: got -1"),
        (picture(1), {"mark_threshold": float("nan")}, "mark_threshold: got nan"),
        (picture(1), {"max_marks": "many"}, "max_marks: got 'many'"),
        (picture(1), {"prompt": "nowhere"}, "prompt: got 'nowhere'"),
        (picture(1), {"sed": 1}, "sed: got an unknown parameter"),
    ],
)
def test_bad_input_is_an_invalid_argument_that_names_the_field(
    server: Serving, image: Any, parameters: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        ask(server.ports.grpc, {IMAGE: image}, parameters=parameters)
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert words in raised.value.message()
    assert "Traceback" not in raised.value.message()


def test_bad_prompts_name_the_field_too(server: Serving, pipeline: Pipeline) -> None:
    inputs = prompts(picture(6), pipeline.manifest.sizes["S"])
    inputs[LABELS] = np.array([[1], [4]], np.int32)
    with pytest.raises(InferenceServerException) as raised:
        ask(server.ports.grpc, inputs, PROMPTED_OBJECT)
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "point_labels: got 4" in raised.value.message()


def test_plain_http_with_json_alone(server: Serving, pipeline: Pipeline) -> None:
    image = picture(7)
    body = {
        "inputs": [
            {"name": IMAGE, "datatype": "UINT8", "shape": [len(image)], "data": image.tolist()}
        ],
        "parameters": LOW,
    }
    url = f"http://127.0.0.1:{server.ports.http}/v2/models/{MARKED_OBJECT.name}/infer"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=150) as response:
        outputs = {one["name"]: one for one in json.loads(response.read())["outputs"]}
    embedded = pipeline.infer({IMAGE: image}, LOW)
    kinds = embedded[MARKED_OBJECT.outputs[0].name]
    assert outputs[MARKED_OBJECT.outputs[0].name]["data"] == kinds.tolist()
    assert outputs[MARKED_OBJECT.outputs[3].name]["data"] == [
        counts.decode() for counts in embedded[MARKED_OBJECT.outputs[3].name]
    ]


def test_nobody_else_may_unload_a_model(server: Serving) -> None:
    url = f"http://127.0.0.1:{server.ports.http}/v2/repository/models/preprocess/unload"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url, b"{}", timeout=30)


def test_metrics_count_pictures_marks_and_every_step(server: Serving) -> None:
    url = f"http://127.0.0.1:{server.ports.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=30) as response:
        text = response.read().decode()
    assert 'markcut_marks_total{kind="circle"}' in text
    assert "markcut_pictures_total" in text
    assert 'nv_inference_compute_infer_duration_us{model="sam2_encoder",version="1"}' in text
