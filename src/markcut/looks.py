"""What YOLO saw, in pixels of the picture, and where it should look again from nearer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import YOLO11_SEG, YOLO_MASK_SIDE, YOLO_SIDE
from markcut.geometry import Placement, Window

Box = NDArray[np.float64]  # (4,) xyxy, pixels of the picture

_CELL = YOLO_SIDE // YOLO_MASK_SIDE  # pixels of the input
_BOX_MARGIN = 3  # cells around its box that are kept of a mask
_BOX_SHARE = 0.08  # of the box's longer side that is kept on top

BLURRED = 2.0
"""Pixels of the picture per pixel of the input above which a look says little of thin ink."""

_WORTH = 1.35  # a nearer look must enlarge by this much
_ENLARGED = 1.5  # and a picture with few pixels is enlarged by this much, not to YOLO's side
_SURE = 0.6  # score from which a detection needs no second opinion
_SMALL = 48.0  # pixels of the input below which it does in any case; so does what is blurred
_DETECTION_ROOM = 0.3  # of its size, on every side of a detection
_HEAT_ROOM = 0.6  # of its size, around a hot place: heat follows ink, and a loop is larger
_JOIN = 5  # pixels of the heat map that join parts of one mark
_EXPLAINED = 0.5  # part of a hot place inside of a sure detection's box
_SPLITS = 3  # how often the threshold is raised to part a place too large for a nearer look


@dataclass(frozen=True)
class Detection:
    """One answer of YOLO to one look at the picture, in pixels of the picture.

    ``prob`` (ph, pw) is the ink probability, 0..1, of the cells that cover ``region`` evenly;
    outside of it there is no ink. ``window`` is the part of the picture that YOLO looked at.
    """

    kind: int  # index into contracts.KINDS
    score: float  # 0..1
    box: NDArray[np.float32]  # (4,) xyxy
    prob: NDArray[np.float32]  # (ph, pw)
    region: tuple[float, float, float, float]  # xyxy
    window: Window


def detections(
    outputs: Mapping[str, NDArray[Any]], placement: Placement, *, threshold: float
) -> list[Detection]:
    """The answers of one look whose score is at least ``threshold``, best first.

    ``outputs`` are those of ``contracts.YOLO11_SEG`` for one picture of the batch (no batch
    axis); ``placement`` is what ``letterbox`` returned for the look. Answers that are not finite,
    or lie on the letterbox's padding, are dropped.
    """
    boxes, scores, class_ids, masks = (outputs[tensor.name] for tensor in YOLO11_SEG.outputs)
    left, top, right, bottom = placement.inner
    found = []
    for index in np.argsort(-scores, kind="stable"):
        if not scores[index] >= max(threshold, np.finfo(np.float32).tiny):  # NaN, suppressed
            continue
        box = np.clip(boxes[index], (left, top, left, top), (right, bottom, right, bottom))
        if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
            continue
        margin = _BOX_MARGIN * _CELL + _BOX_SHARE * _extent(box)
        x0, y0 = np.maximum(np.floor((box[:2] - margin) / _CELL).astype(int), 0)
        x1, y1 = np.minimum(np.ceil((box[2:] + margin) / _CELL).astype(int), YOLO_MASK_SIDE)
        prob = np.clip(np.nan_to_num(masks[index, y0:y1, x0:x1], nan=0.0), 0, 1)
        cells = np.array((x0, y0, x1, y1), np.float64) * _CELL
        a, b, c, d = placement.backward(cells).tolist()
        found.append(
            Detection(
                kind=int(class_ids[index]),
                score=float(scores[index]),
                box=placement.backward(box).astype(np.float32),
                prob=prob.astype(np.float32),
                region=(a, b, c, d),
                window=placement.window,
            )
        )
    return found


@dataclass(frozen=True)
class _Wish:
    """A box that some window should show, its room included, and how promising that is."""

    box: Box
    side: float  # of the window
    promise: float


def crop_windows(
    heatmap: NDArray[np.float32],
    whole: Sequence[Detection],
    *,
    height: int,
    width: int,
    heat_threshold: float,
    max_windows: int,
) -> list[Window]:
    """Parts of a picture that YOLO should look at from nearer, the most promising first.

    ``heatmap`` is CLIPSeg's of the whole picture, stretched, 0..1; ``whole`` what YOLO saw in the
    whole picture, best given with a lower threshold than the final one: weak answers are what
    a nearer look decides. A window is a square of at least YOLO's side in pixels of the picture,
    smaller in small pictures and cut at the border; what lies near together shares one.
    Nothing is looked at again that YOLO saw well, or that a window would hardly enlarge.
    """
    longest = max(height, width)
    wishes = [
        *_second_opinions(whole, height, width),
        *_unexplained_heat(heatmap, whole, height, width, heat_threshold),
    ]
    chosen: list[_Wish] = []
    for wish in sorted(wishes, key=lambda w: -w.promise):
        if wish.side * _WORTH > longest:
            continue
        for index, other in enumerate(chosen):
            both = _union(wish.box, other.box)
            side = max(wish.side, other.side)
            if _extent(both) <= side:
                chosen[index] = _Wish(both, side, other.promise)
                break
        else:
            if len(chosen) < max_windows:
                chosen.append(wish)
    return [_around(wish, height, width) for wish in chosen]


def _second_opinions(whole: Sequence[Detection], height: int, width: int) -> Iterator[_Wish]:
    scale = max(height, width) / YOLO_SIDE
    for detection in whole:
        extent = _extent(detection.box.astype(np.float64))
        if detection.score >= _SURE and extent >= _SMALL * scale and scale <= BLURRED:
            continue
        yield _wish(detection.box, _DETECTION_ROOM, detection.score, height, width)


def _unexplained_heat(
    heatmap: NDArray[np.float32],
    whole: Sequence[Detection],
    height: int,
    width: int,
    threshold: float,
) -> Iterator[_Wish]:
    sure = [d.box for d in whole if d.score >= _SURE]
    scale = np.array([width / heatmap.shape[1], height / heatmap.shape[0]] * 2)
    heat = np.nan_to_num(heatmap.astype(np.float32), nan=0.0)
    for cells, peak in _hot_places(heat, threshold, _SPLITS, scale, max(height, width)):
        box = cells * scale
        if not any(_common(box, other) > _EXPLAINED * _area(box) for other in sure):
            yield _wish(box, _HEAT_ROOM, peak, height, width)


def _hot_places(
    heat: NDArray[np.float32], threshold: float, splits: int, scale: Box, longest: int
) -> Iterator[tuple[Box, float]]:
    """Boxes in pixels of the heat map, with their hottest values."""
    hot = cv2.dilate((heat >= threshold).astype(np.uint8), np.ones((_JOIN, _JOIN), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    for index in range(1, count):
        x, y, w, h = stats[index, :4].tolist()
        inside = labels[y : y + h, x : x + w] == index
        part = np.where(inside, heat[y : y + h, x : x + w], 0)
        peak = float(part.max())
        box = np.array([x, y, x + w, y + h], np.float64)
        too_large = _extent(box * scale) * (1 + 2 * _HEAT_ROOM) * _WORTH > longest
        if not too_large or splits == 0:
            yield box, peak
            continue
        for inner, value in _hot_places(part, (threshold + peak) / 2, splits - 1, scale, longest):
            yield inner + np.array([x, y, x, y]), value


def _wish(box: NDArray[Any], room: float, promise: float, height: int, width: int) -> _Wish:
    grown = box.astype(np.float64) + room * _extent(box) * np.array([-1, -1, 1, 1])
    grown = np.clip(grown, 0, (width, height, width, height))
    least = min(float(YOLO_SIDE), max(height, width) / _ENLARGED)
    return _Wish(grown, max(least, _extent(grown)), promise)


def _around(wish: _Wish, height: int, width: int) -> Window:
    """A square around the middle of what is wished, moved and cut to fit the picture."""
    edges = []
    for low, high, size in ((0, 2, width), (1, 3, height)):
        length = min(round(wish.side), size)
        start = round((wish.box[low] + wish.box[high] - length) / 2)
        start = int(np.clip(start, 0, size - length))
        edges.append((start, start + length))
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1


def _extent(box: NDArray[Any]) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


def _area(box: NDArray[Any]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _common(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Area that two boxes share."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    return float(np.prod(np.maximum(high - low, 0)))


def _union(one: Box, other: Box) -> Box:
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])
