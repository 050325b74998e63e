from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from markcut.bundle import Manifest, write_bundle
from markcut.contracts import PROMPTED_OBJECT, SAM2_ENCODER, STAGES
from markcut.errors import InvalidInput
from markcut.pipeline import Pipeline
from markcut.prompted import MAX_OBJECTS, choose, feeds, parse_prompts

IMAGE, COORDS, LABELS, BOXES, EARLIER = (tensor.name for tensor in PROMPTED_OBJECT.inputs)
SIDE, HEIGHT, WIDTH = 32, 60, 80
NONE = np.float32(np.nan)
Inputs = dict[str, NDArray[Any]]


def picture() -> NDArray[np.uint8]:
    held = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (9, 90, 190)).save(held, "PNG")
    return np.frombuffer(held.getvalue(), np.uint8)


def prompts(objects: int = 1, points: int = 1, **changes: Any) -> Inputs:
    inputs = {
        IMAGE: picture(),
        COORDS: np.full((objects, points, 2), 20, np.float32),
        LABELS: np.ones((objects, points), np.int32),
        BOXES: np.full((objects, 4), NONE, np.float32),
        EARLIER: np.full((objects, SIDE // 4, SIDE // 4), NONE, np.float32),
    }
    return {**inputs, **changes}


def parse(inputs: Mapping[str, NDArray[Any]]) -> Any:
    return parse_prompts(inputs, SIDE, height=HEIGHT, width=WIDTH)


def test_corners_come_first_and_padding_last() -> None:
    boxes = np.array([[NONE] * 4, [10, 20, 30, 40]], np.float32)
    labels = np.array([[-1, 1, 0], [1, -1, -1]], np.int32)
    parsed = parse(prompts(2, 3, **{BOXES: boxes, LABELS: labels}))
    assert parsed.labels.tolist() == [[1, 0, -1], [2, 3, 1]]
    assert parsed.coords[1, :2].tolist() == [[10, 20], [30, 40]]
    assert not parsed.has_earlier.any()


def test_coordinates_reach_the_decoder_in_pixels_of_its_input() -> None:
    coords, labels, masks, has_mask = feeds(parse(prompts()), SIDE, height=HEIGHT, width=WIDTH)
    assert coords[0, 0].tolist() == pytest.approx([20 * 32 / 80 - 0.5, 20 * 32 / 60 - 0.5])
    assert (labels.tolist(), has_mask.tolist()) == ([[1]], [0.0])
    assert masks.shape == (1, 1, 8, 8)
    assert not masks.any()


def test_a_box_needs_no_point() -> None:
    parsed = parse(prompts(1, 0, **{BOXES: np.array([[1, 2, 3, 4]], np.float32)}))
    assert parsed.labels.tolist() == [[2, 3]]


def test_a_lone_click_gets_the_best_of_three_and_everything_else_mask_0() -> None:
    labels = np.array([[1, -1], [1, 1], [2, 3], [1, -1]], np.int32)
    ious = np.tile(np.array([0.99, 0.2, 0.9, 0.3], np.float32), (4, 1))
    clear = np.full((4, 4, 8, 8), 3.0, np.float32)
    assert choose(labels, np.array([0, 0, 0, 1]), clear, ious).tolist() == [2, 0, 0, 0]


@pytest.mark.parametrize(
    ("unsure", "mask"),
    [(0, 0), (1, 0), (2, 3), (64, 3)],  # of 64 cells; one in 63 is below two in a hundred
)
def test_a_single_mask_that_hangs_on_the_threshold_gives_way(unsure: int, mask: int) -> None:
    logits = np.full((1, 4, 8, 8), 3.0, np.float32)
    logits[0, 0].flat[:unsure] = 0.01
    ious = np.array([[0.99, 0.2, 0.5, 0.6]], np.float32)
    assert choose(np.array([[2, 3]], np.int32), np.zeros(1), logits, ious).tolist() == [mask]


def test_a_single_mask_that_is_empty_for_sure_stays() -> None:
    logits = np.full((1, 4, 8, 8), -3.0, np.float32)
    ious = np.array([[0.1, 0.2, 0.5, 0.6]], np.float32)
    assert choose(np.array([[1, 1]], np.int32), np.zeros(1), logits, ious).tolist() == [0]


def test_background_points_suffice_with_a_box_or_an_earlier_mask() -> None:
    labels = {LABELS: np.zeros((1, 1), np.int32)}
    boxed = parse(prompts(**labels, **{BOXES: np.array([[1, 2, 30, 40]], np.float32)}))
    assert boxed.labels.tolist() == [[2, 3, 0]]
    refined = parse(prompts(**labels, **{EARLIER: np.zeros((1, 8, 8), np.float32)}))
    assert refined.labels.tolist() == [[0]]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({LABELS: np.array([[5]], np.int32)}, LABELS, "got 5, expected 1 foreground"),
        ({LABELS: np.array([[1.0]])}, LABELS, "got float64 (1, 1), expected int32 (1, 1)"),
        ({LABELS: np.array([[-1]], np.int32)}, COORDS, "object 0 has neither a point nor a box"),
        ({LABELS: np.array([[0]], np.int32)}, COORDS, "object 0: give it a point that is on the"),
        ({COORDS: np.full((1, 1, 2), 79.0, np.float32)}, COORDS, "inside 80 x 60 pixels"),
        ({COORDS: np.full((1, 1, 2), NONE, np.float32)}, COORDS, "inside 80 x 60 pixels"),
        ({COORDS: np.zeros((0, 1, 2), np.float32)}, COORDS, "at least one object"),
        ({BOXES: np.array([[5, 5, 5, 9]], np.float32)}, BOXES, "x0 < x1"),
        ({BOXES: np.array([[5, NONE, 6, 9]], np.float32)}, BOXES, "mixes numbers with NaN"),
        ({BOXES: np.zeros((2, 4), np.float32)}, BOXES, "expected float32 (1, 4)"),
        ({EARLIER: np.zeros((1, 9, 8), np.float32)}, EARLIER, "expected float32 (1, 8, 8)"),
        ({EARLIER: np.full((1, 8, 8), np.inf, np.float32)}, EARLIER, "finite numbers alone"),
        ({"typo": np.zeros(1)}, "typo", "unknown input"),
    ],
)
def test_what_cannot_be_used_is_named(changes: Inputs, field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse(prompts(**changes))
    assert raised.value.field == field
    assert words in raised.value.problem


def test_a_missing_input_and_too_many_objects_are_named() -> None:
    inputs = prompts()
    del inputs[BOXES]
    with pytest.raises(InvalidInput, match="boxes: got nothing, expected float32"):
        parse(inputs)
    with pytest.raises(InvalidInput, match=f"expected at most {MAX_OBJECTS} objects"):
        parse(prompts(MAX_OBJECTS + 1))


@pytest.fixture(scope="module")
def pipeline(
    tiny_bundle: tuple[Manifest, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, *tiny_bundle)
    return Pipeline.open(folder, runtime="onnxruntime", threads=1)


def test_the_pipeline_answers_the_contract_and_remembers_the_picture(pipeline: Pipeline) -> None:
    encoder = STAGES.index(SAM2_ENCODER.name)
    first = pipeline.prompt(prompts(2, 1))
    assert list(first) == [tensor.name for tensor in PROMPTED_OBJECT.outputs]
    masks, scores, logits, size, spent = first.values()
    assert (masks.dtype, scores.tolist(), size.tolist()) == (np.object_, [1, 1], [HEIGHT, WIDTH])
    assert (logits.shape, spent[encoder] > 0) == ((2, 8, 8), True)
    again = pipeline.prompt(prompts(2, 1, **{EARLIER: logits}))
    assert again[PROMPTED_OBJECT.outputs[-1].name][encoder] == 0
    assert again[PROMPTED_OBJECT.outputs[0].name].tolist() == masks.tolist()


def test_given_prompts_take_no_parameters(pipeline: Pipeline) -> None:
    with pytest.raises(InvalidInput, match="seed: got an unknown parameter"):
        pipeline.prompt(prompts(), {"seed": 1})
    with pytest.raises(InvalidInput, match="image: got nothing"):
        pipeline.prompt({k: v for k, v in prompts().items() if k != IMAGE})
