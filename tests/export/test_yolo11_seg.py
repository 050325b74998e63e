"""The marks' graph against ultralytics' own suppression and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export import yolo11_seg
from export.pictures import letterboxed
from export.yolo11_seg import IOU_LIMIT
from markcut.contracts import KINDS, YOLO11_SEG, YOLO_SIDE, YOLO_TOP_K

BOXES, SCORES, KIND_IDS, MASKS = (tensor.name for tensor in YOLO11_SEG.outputs)
PIXELS = YOLO11_SEG.inputs[0].name


@pytest.fixture(scope="module")
def graph(yolo_file: Any) -> Any:
    loaded = yolo11_seg.load(str(yolo_file))
    return loaded.graphs(loaded.model)[0]


@pytest.fixture(scope="module")
def views(pictures: list) -> np.ndarray:
    return np.stack([letterboxed(picture, YOLO_SIDE) for picture in pictures])


@pytest.fixture(scope="module")
def answer(graph: Any, views: np.ndarray) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        outputs = graph.module.eval()(torch.from_numpy(views))
    return dict(
        zip((t.name for t in YOLO11_SEG.outputs), (o.numpy() for o in outputs), strict=True)
    )


def test_confident_marks_are_those_of_ultralytics_predict(
    yolo_file: Any, views: np.ndarray, answer: dict[str, np.ndarray]
) -> None:
    """The whole upstream path: letterbox of a square picture, forward, suppression, masks."""
    from ultralytics import YOLO

    results = YOLO(str(yolo_file), task="segment").predict(
        [view[..., ::-1] for view in views], imgsz=YOLO_SIDE, conf=0.3, iou=IOU_LIMIT,
        agnostic_nms=True, max_det=YOLO_TOP_K, verbose=False, device="cpu",
    )  # fmt: skip
    for k, result in enumerate(results):
        count = len(result)
        assert count > 3
        inside = np.clip(answer[BOXES][k, :count], 0, YOLO_SIDE)  # upstream clips to the picture
        np.testing.assert_allclose(inside, result.boxes.xyxy.numpy(), atol=0.05)
        np.testing.assert_allclose(answer[SCORES][k, :count], result.boxes.conf.numpy(), atol=1e-4)
        np.testing.assert_array_equal(answer[KIND_IDS][k, :count], result.boxes.cls.numpy())
        assert (answer[SCORES][k, count:] < 0.3).all()
        for mine, theirs in zip(answer[MASKS][k], result.masks.data.numpy(), strict=False):
            logits = torch.from_numpy(mine)[None, None].logit()  # upstream resizes before a sigmoid
            ink = torch.nn.functional.interpolate(logits, size=theirs.shape, mode="bilinear")
            found = (ink[0, 0] > 0).numpy() & (theirs > 0)  # upstream crops to the box
            wanted = theirs > 0
            assert found.sum() >= 0.98 * wanted.sum()


def test_scores_fall_and_what_is_suppressed_has_none(answer: dict[str, np.ndarray]) -> None:
    scores = answer[SCORES]
    assert (np.diff(scores, axis=1) <= 0).all()
    assert answer[KIND_IDS].dtype == np.int32
    assert ((answer[KIND_IDS] >= 0) & (answer[KIND_IDS] < len(KINDS))).all()
    assert ((answer[MASKS] >= 0) & (answer[MASKS] <= 1)).all()
    for boxes, score in zip(answer[BOXES], scores, strict=True):
        overlap = _iou(boxes[score > 0])
        assert (np.triu(overlap, 1) <= IOU_LIMIT + 1e-4).all()


def test_verification_pairs_rows_and_sees_wrong_ones(
    graph: Any, views: np.ndarray, answer: dict[str, np.ndarray]
) -> None:
    with torch.inference_mode():
        wanted = graph.reference({PIXELS: views})
    shuffled = {name: values[:, ::-1].copy() for name, values in answer.items()}
    got, aligned = graph.align(shuffled, wanted)
    for name in (BOXES, SCORES, KIND_IDS, MASKS):
        np.testing.assert_allclose(got[name], aligned[name], atol=2e-3)
    for name, change in ((SCORES, 0.01), (BOXES, 4.0), (KIND_IDS, 1), (MASKS, 0.1)):
        wrong = {n: values.copy() for n, values in answer.items()}
        wrong[name][0, 0] += np.asarray(change, wrong[name].dtype)
        got, aligned = graph.align(wrong, wanted)
        assert np.abs(got[name] - aligned[name]).max() > 0.5 * change
    missing = {n: values.copy() for n, values in answer.items()}
    missing[SCORES][0, 0] = 0
    got, aligned = graph.align(missing, wanted)
    assert np.abs(got[SCORES] - aligned[SCORES]).max() > 0.05


@pytest.mark.parametrize("step", [8.0, 20.0, 30.0])
@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_chain_of_overlapping_boxes_is_suppressed_greedily(
    graph: Any, step: float, count: int
) -> None:
    import torchvision

    boxes = torch.full((256, 4), -1e4) + 300 * torch.arange(256)[:, None]  # far apart
    boxes[:, 2:] += 10
    for k in range(count):
        boxes[k] = torch.tensor([10 + step * k, 10.0, 110 + step * k, 110.0])
    kept = graph.module._kept(boxes[None])[0].bool()
    greedy = torchvision.ops.nms(boxes, torch.arange(256, 0, -1).float(), IOU_LIMIT)
    assert torch.equal(kept.nonzero().flatten(), greedy.sort().values)


def test_empty_and_inverted_boxes_suppress_nothing(graph: Any) -> None:
    boxes = torch.zeros(1, 256, 4)
    boxes[0, 1] = torch.tensor([5.0, 5.0, 1.0, 1.0])
    assert graph.module._kept(boxes).bool().all()


def _iou(boxes: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return both / (area[:, None] + area[None] - both)
