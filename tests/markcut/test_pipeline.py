from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from markcut import chain
from markcut.bundle import Bundle, Manifest, write_bundle
from markcut.contracts import (
    CLIPSEG,
    CLIPSEG_SIDE,
    KINDS,
    MARKED_OBJECT,
    MASKS_PER_PROMPT,
    MODELS,
    SAM2_DECODER,
    SAM2_ENCODER,
    STAGES,
    YOLO11_SEG,
    YOLO_MASK_SIDE,
    YOLO_TOP_K,
    ModelSpec,
)
from markcut.erasing import without_ink
from markcut.errors import InvalidInput, RunnerError
from markcut.geometry import stretch
from markcut.images import decode
from markcut.marks import Mark
from markcut.pipeline import Pipeline
from markcut.runners.base import RunnerInfo, check_feeds
from tests.markcut.conftest import SIZES
from tests.markcut.drawn import ellipse, loop, mark, scene, strokes

Arrays = dict[str, NDArray[Any]]
SHAPE = (160, 240)
IMAGE = MARKED_OBJECT.inputs[0].name
THING = ellipse(SHAPE, (120, 80), (45, 30))
AROUND = strokes(SHAPE, [loop((120, 80), (62, 45))], 4)
TICK = strokes(SHAPE, [[(20, 120), (28, 130), (45, 105)]], 4)


class FakeRunner:
    """A model that is a function, with the feeds checked as real runners check them."""

    def __init__(self, spec: ModelSpec, answer: Callable[[Arrays], Arrays]) -> None:
        self.spec, self._answer = spec, answer
        self.info = RunnerInfo("fake", "1", "cpu", "fp32", 1)
        self.calls: list[Arrays] = []
        self.closed = False

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        checked = check_feeds(self.spec, feeds)
        self.calls.append(checked)
        return self._answer(checked)

    def close(self) -> None:
        self.closed = True


def zeros(spec: ModelSpec) -> Callable[[Arrays], Arrays]:
    return lambda feeds: {
        tensor.name: np.zeros([1 if d == "B" else int(d) for d in tensor.dims], tensor.numpy_dtype)
        for tensor in spec.outputs
    }


def decoded(feeds: Arrays) -> Arrays:
    """The thing as every prompt's second mask, everything as its first."""
    count, side = len(feeds[SAM2_DECODER.inputs[4].name]), SIZES["S"] // 4
    thing = np.full((side, side), -4.0, np.float32)
    thing[2:6, 3:5] = 4
    masks = np.full((count, MASKS_PER_PROMPT, side, side), 3.0, np.float32)
    masks[:, 1] = thing
    ious = np.tile(np.array([0.2, 0.9, 0.2, 0.2], np.float32), (count, 1))
    values = (masks, ious, np.full((count, 1), 3.0, np.float32))
    return dict(zip((t.name for t in SAM2_DECODER.outputs), values, strict=True))


@pytest.fixture
def runners() -> dict[str, FakeRunner]:
    fakes = {}
    for name, spec in MODELS.items():
        sized = spec.resolve(SIZES)
        fakes[name] = FakeRunner(sized, decoded if name == SAM2_DECODER.name else zeros(sized))
    return fakes


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Mark]:
    """What the looks at the picture are taken to have shown; tests add to it."""
    marks: list[Mark] = []

    def merge(*looks: Any, threshold: float, max_marks: int, **rest: Any) -> Any:
        return [one for one in marks if one.score >= threshold][:max_marks]

    def crop_windows(heatmap: Any, whole: Any, *, height: int, width: int, **rest: Any) -> Any:
        return [(0, 0, (width + 1) // 2, (height + 1) // 2)]

    monkeypatch.setattr(chain, "merge", merge)
    monkeypatch.setattr(chain, "crop_windows", crop_windows)
    return marks


@pytest.fixture
def pipeline(
    tiny_bundle: tuple[Manifest, dict[str, bytes]],
    runners: dict[str, FakeRunner],
    found: list[Mark],
) -> Iterator[Pipeline]:
    manifest, _ = tiny_bundle
    conds = np.arange(12, dtype=np.float32).reshape(2, 6)
    with Pipeline(Bundle(Path("tiny"), manifest, {}, conds), runners) as opened:
        yield opened


def png(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return png(scene(THING, AROUND | TICK))


def named(outputs: Arrays) -> list[NDArray[Any]]:
    return [outputs[tensor.name] for tensor in MARKED_OBJECT.outputs]


def check_contract(outputs: Arrays, marks: int) -> None:
    assert list(outputs) == [tensor.name for tensor in MARKED_OBJECT.outputs]
    sizes: dict[str, int] = {"N": marks, "S": len(STAGES)}
    for tensor in MARKED_OBJECT.outputs:
        array = outputs[tensor.name]
        assert array.dtype == tensor.numpy_dtype, tensor.name
        assert array.ndim == len(tensor.dims), tensor.name
        for size, dim in zip(array.shape, tensor.dims, strict=True):
            wanted = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
            assert size == wanted, tensor.name
        if tensor.dtype == "BYTES":
            assert all(type(value) is bytes for value in array)


def test_every_mark_gets_its_object(
    pipeline: Pipeline, found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    found += [mark("circle", AROUND), mark("tick", TICK)]
    outputs = pipeline.infer({IMAGE: photo}, {"seed": 3})
    check_contract(outputs, 2)
    kinds, scores, boxes, inks, points, labels, objects, ious, reasons, size, _ = named(outputs)
    assert [KINDS[kind] for kind in kinds] == ["circle", "tick"]
    assert scores.tolist() == pytest.approx([0.9, 0.9])
    assert np.array_equal(boxes[0], found[0].box)
    assert size.tolist() == list(SHAPE)
    ink = coco.decode({"size": list(SHAPE), "counts": inks[0]}).astype(bool)
    assert np.array_equal(ink, AROUND)
    thing = coco.decode({"size": list(SHAPE), "counts": objects[0]}).astype(bool)
    # cells 3 and 4 across and 2 to 5 down of 8 x 8
    assert thing[80, 120]
    assert np.flatnonzero(thing.any(axis=0))[[0, -1]].tolist() == [90, 149]
    assert np.flatnonzero(thing.any(axis=1))[[0, -1]].tolist() == [40, 119]
    assert ious.tolist() == pytest.approx([0.9, 0.9])
    assert reasons[0].decode().startswith("inside the circle")
    assert reasons[1].decode().startswith("under the tick")
    used = np.floor(points[0][labels[0] == 1]).astype(int)
    assert len(used)
    assert not AROUND[used[:, 1], used[:, 0]].any()
    assert set(np.unique(labels)) <= {1, -1}


def test_no_mark_is_a_success_and_skips_the_decoder(
    pipeline: Pipeline, runners: dict[str, FakeRunner], photo: NDArray[np.uint8]
) -> None:
    outputs = pipeline.infer({IMAGE: photo}, {})
    check_contract(outputs, 0)
    assert not runners[SAM2_DECODER.name].calls
    assert named(outputs)[9].tolist() == list(SHAPE)


def test_the_same_request_gets_the_same_bytes_from_every_thread(
    pipeline: Pipeline, found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    found += [mark("circle", AROUND), mark("tick", TICK)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: pipeline.infer({IMAGE: photo}, {"seed": 5}), range(8)))
    for other in answers[1:]:
        for tensor in MARKED_OBJECT.outputs[:-1]:
            assert np.array_equal(answers[0][tensor.name], other[tensor.name]), tensor.name


def test_every_stage_is_timed(
    pipeline: Pipeline, found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    found.append(mark("tick", TICK))
    spent = dict(zip(STAGES, named(pipeline.infer({IMAGE: photo}))[-1].tolist(), strict=True))
    assert all(milliseconds > 0 for milliseconds in spent.values()), spent
    assert spent["total"] >= spent["mask_selection"]


def test_models_get_the_picture_and_all_prompts_in_one_batch(
    pipeline: Pipeline, runners: dict[str, FakeRunner], found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    found += [mark("circle", AROUND), mark("tick", TICK)]
    pipeline.infer({IMAGE: photo}, {"prompt": "a drawn circle"})
    assert [len(runners[spec.name].calls) for spec in (CLIPSEG, SAM2_ENCODER)] == [1, 1]
    cond = runners[CLIPSEG.name].calls[0][CLIPSEG.inputs[1].name]
    assert cond.tolist() == [[6, 7, 8, 9, 10, 11]]
    assert len(runners[YOLO11_SEG.name].calls) == 2  # the whole picture and one window
    (call,) = runners[SAM2_DECODER.name].calls
    coords, labels, _, has_mask = (call[tensor.name] for tensor in SAM2_DECODER.inputs[3:])
    assert len(coords) == len(labels) > 2
    assert not has_mask.any()
    inside = coords[labels == 1]
    assert ((inside >= -0.5) & (inside <= SIZES["S"] - 0.5)).all()


def test_the_encoder_sees_the_picture_without_its_marks_and_none_without_marks(
    pipeline: Pipeline, runners: dict[str, FakeRunner], found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    pipeline.infer({IMAGE: photo})
    assert not runners[SAM2_ENCODER.name].calls
    found.append(mark("tick", TICK))
    pipeline.infer({IMAGE: photo})
    (call,) = runners[SAM2_ENCODER.name].calls
    (view,) = call.values()
    picture = decode(photo)
    height, width = picture.shape[:2]
    wanted = without_ink(stretch(picture, SIZES["S"])[0], found, height=height, width=width)
    assert (view[0] == wanted).all()
    assert (view[0] != stretch(picture, SIZES["S"])[0]).any()


def test_a_small_object_is_looked_at_twice_and_nothing_else_is(
    tiny_bundle: tuple[Manifest, dict[str, bytes]], runners: dict[str, FakeRunner],
    found: list[Mark], photo: NDArray[np.uint8],
) -> None:  # fmt: skip
    manifest, _ = tiny_bundle
    nearer = dataclasses.replace(manifest, defaults={**manifest.defaults, "nearer_look": 0.67})
    conds = np.arange(12, dtype=np.float32).reshape(2, 6)
    found.append(mark("tick", TICK))
    with Pipeline(Bundle(Path("tiny"), nearer, {}, conds), runners) as pipeline:
        first, looks = pipeline.infer({IMAGE: photo}), runners[SAM2_ENCODER.name].calls
        assert len(looks) == 1  # the thing takes too much of the picture

        answer = runners[SAM2_DECODER.name]._answer

        def speck(feeds: Arrays) -> Arrays:
            outputs = answer(feeds)
            masks = outputs[SAM2_DECODER.outputs[0].name]
            masks[:] = -4
            masks[..., 6, 1] = 4 if len(looks) != 5 else -4
            return outputs

        runners[SAM2_DECODER.name]._answer = speck
        second = pipeline.infer({IMAGE: photo})
        assert len(looks) == 3
        # the fifth look finds nothing: what the fourth found stays
        third = pipeline.infer({IMAGE: photo})
        assert len(looks) == 5
    views = [next(iter(call.values())) for call in looks]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[1], views[2])
    object_masks = MARKED_OBJECT.outputs[6].name
    areas = [
        coco.area({"size": list(SHAPE), "counts": answered[object_masks][0]})
        for answered in (first, second, third)
    ]
    # a cell of the window is smaller than one of the picture
    assert 0 < areas[1] < SHAPE[0] * SHAPE[1] / (SIZES["S"] // 4) ** 2 < areas[0]
    assert areas[1] < areas[2] < areas[0]
    check_contract(second, 1)


def test_features_go_from_encoder_to_decoder_as_they_are(
    pipeline: Pipeline, runners: dict[str, FakeRunner], found: list[Mark],
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    encoder, decoder = runners[SAM2_ENCODER.name], runners[SAM2_DECODER.name]
    left = zeros(encoder.spec)({})
    monkeypatch.setattr(FakeRunner, "infer_resident", lambda *_: left, raising=False)
    fed: list[Mapping[str, Any]] = []
    monkeypatch.setattr(decoder, "infer", lambda feeds: fed.append(feeds) or decoded(dict(feeds)))
    found.append(mark("tick", TICK))
    pipeline.infer({IMAGE: photo})
    assert not encoder.calls
    for tensor in SAM2_ENCODER.outputs:
        assert fed[0][tensor.name] is left[tensor.name]


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ({"mark_threshold": float("nan")}, "mark_threshold", "got nan, expected a number from 0"),
        ({"mark_threshold": 1.5}, "mark_threshold", "got 1.5"),
        ({"mark_threshold": "0.5"}, "mark_threshold", "got '0.5' (str)"),
        ({"mark_threshold": True}, "mark_threshold", "got True (bool)"),
        ({"max_marks": 0}, "max_marks", "got 0, expected a whole number from 1 to 32"),
        ({"max_marks": 2.0}, "max_marks", "got 2.0"),
        ({"points_per_mark": 99}, "points_per_mark", "from 1 to 6"),
        ({"seed": -1}, "seed", "got -1"),
        ({"seed": None}, "seed", "got None"),
        ({"prompt": "x"}, "prompt", "expected one of the bundle's: 'annotated', 'a drawn circle'"),
        ({"prompt": 3}, "prompt", "got 3"),
        ({"a\nb": 1}, "parameters", r"got one named 'a\nb' (str), expected some of seed"),
        ({"": 1}, "parameters", "got one named ''"),
        ({5: 1}, "parameters", "got one named '5'"),
        ({"sede": 1}, "sede", "unknown parameter, expected some of seed, max_marks"),
    ],
)
def test_wrong_parameters_are_named(
    pipeline: Pipeline, photo: NDArray[np.uint8], parameters: dict[str, object], field: str,
    words: str,
) -> None:  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        pipeline.infer({IMAGE: photo}, parameters)
    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, "datetime64[s]"])
def test_a_prompted_picture_is_bytes(pipeline: Pipeline, dtype: Any) -> None:
    with pytest.raises(InvalidInput, match=r"image: got an array .*, expected uint8 \(length,\)"):
        pipeline.prompt({IMAGE: np.zeros(9, dtype)})


def test_numpy_numbers_are_numbers(pipeline: Pipeline, photo: NDArray[np.uint8]) -> None:
    asked = {"seed": np.int64(4), "mark_threshold": np.float32(0.5), "max_marks": np.int32(2)}
    check_contract(pipeline.infer({IMAGE: photo}, asked), 0)


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, IMAGE),
        ({IMAGE: np.zeros(3, np.uint8), "imgae": np.zeros(3, np.uint8)}, "imgae"),
        ({IMAGE: np.zeros(3, np.uint8)}, IMAGE),
        ({IMAGE: np.zeros(0, np.uint8)}, IMAGE),
    ],
)
def test_wrong_inputs_are_named(
    pipeline: Pipeline, inputs: dict[str, NDArray[Any]], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        pipeline.infer(inputs)
    assert caught.value.field == field


def test_parameters_decide_what_is_answered(
    pipeline: Pipeline, found: list[Mark], photo: NDArray[np.uint8]
) -> None:
    found += [mark("circle", AROUND), mark("tick", TICK)]
    check_contract(pipeline.infer({IMAGE: photo}, {"max_marks": 1}), 1)
    check_contract(pipeline.infer({IMAGE: photo}, {"mark_threshold": 0.95}), 0)
    outputs = pipeline.infer({IMAGE: photo}, {"points_per_mark": 1})
    assert ((named(outputs)[5] == 1).sum(axis=1) == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_pictures_of_one_pixel_on_a_side(
    pipeline: Pipeline, found: list[Mark], shape: tuple[int, int]
) -> None:
    found.append(mark("dot", np.ones(shape, np.bool_)))
    check_contract(pipeline.infer({IMAGE: png(np.zeros((*shape, 3), np.uint8))}), 1)


def test_closing_closes_the_runners(
    pipeline: Pipeline, runners: dict[str, FakeRunner], photo: NDArray[np.uint8]
) -> None:
    pipeline.close()
    assert all(runner.closed for runner in runners.values())
    with pytest.raises(RunnerError, match="closed"):
        pipeline.infer({IMAGE: photo})


def test_closing_waits_for_requests_under_way(
    pipeline: Pipeline, runners: dict[str, FakeRunner], photo: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    looking, go_on = threading.Event(), threading.Event()
    runner = runners[YOLO11_SEG.name]
    infer = runner.infer

    def slow(feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        looking.set()
        assert go_on.wait(10)
        return infer(feeds)

    monkeypatch.setattr(runner, "infer", slow)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(pipeline.infer, {IMAGE: photo})
        assert looking.wait(10)
        closed = pool.submit(pipeline.close)
        while not pipeline._closed:
            time.sleep(0.01)
        assert not any(one.closed for one in runners.values())
        with pytest.raises(RunnerError, match="closed"):
            pipeline.infer({IMAGE: photo})
        go_on.set()
        check_contract(asked.result(), 0)
        closed.result()
    assert all(one.closed for one in runners.values())


def test_a_bundle_on_disk_opens_and_answers(
    tiny_bundle: tuple[Manifest, dict[str, bytes]], found: list[Mark], tmp_path: Path,
    photo: NDArray[np.uint8],
) -> None:  # fmt: skip
    write_bundle(tmp_path / "tiny", *tiny_bundle)
    found.append(mark("tick", TICK))
    with Pipeline.open(tmp_path / "tiny", runtime="onnxruntime", threads=1) as opened:
        check_contract(opened.infer({IMAGE: photo}), 1)
        assert {info.runtime for info in opened.runners.values()} == {"onnxruntime"}
        assert opened.manifest.name == "tiny"


def test_sizes_of_the_fakes_are_those_of_the_contract() -> None:
    heat = zeros(CLIPSEG.resolve(SIZES))({})[CLIPSEG.outputs[0].name]
    assert heat.shape == (1, CLIPSEG_SIDE, CLIPSEG_SIDE)
    masks = zeros(YOLO11_SEG)({})[YOLO11_SEG.outputs[3].name]
    assert masks.shape == (1, YOLO_TOP_K, YOLO_MASK_SIDE, YOLO_MASK_SIDE)
