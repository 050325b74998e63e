"""What YOLO saw, in pixels of the picture, and where it should look again from nearer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import YOLO11_SEG, YOLO_MASK_SIDE, YOLO_SIDE
from markcut.geometry import Placement, Window

_CELL = YOLO_SIDE // YOLO_MASK_SIDE  # pixels of the input
_WORTH = 1.35  # a nearer look must enlarge by this much
_CONTEXT = 1.6  # a window's side in sizes of what it is made for
_JOIN = 9  # pixels of the heat map that join parts of one mark
_BOX_MARGIN = 3  # cells around its box in which a mark's ink is believed


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
        x0, y0 = np.maximum(np.floor(box[:2] / _CELL).astype(int) - _BOX_MARGIN, 0)
        x1, y1 = np.minimum(np.ceil(box[2:] / _CELL).astype(int) + _BOX_MARGIN, YOLO_MASK_SIDE)
        prob = np.nan_to_num(masks[index, y0:y1, x0:x1], nan=0.0).astype(np.float32)
        cells = np.array((x0, y0, x1, y1), np.float64) * _CELL
        a, b, c, d = placement.backward(cells).tolist()
        found.append(
            Detection(
                kind=int(class_ids[index]),
                score=float(scores[index]),
                box=placement.backward(box).astype(np.float32),
                prob=prob,
                region=(a, b, c, d),
                window=placement.window,
            )
        )
    return found


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
    cut at the picture's border. A picture that YOLO sees nearly as it is needs none.
    """
    longest = max(height, width)
    if longest < _WORTH * YOLO_SIDE:
        return []
    windows: list[Window] = []
    for box, _ in sorted(_proposals(heatmap, whole, height, width, heat_threshold), key=_weight):
        extent = max(box[2] - box[0], box[3] - box[1])
        side = max(float(YOLO_SIDE), _CONTEXT * extent)
        if side * _WORTH > longest or any(_holds(window, box) for window in windows):
            continue
        windows.append(_around(box, side, height, width))
        if len(windows) >= max_windows:
            break
    return windows


def _weight(proposal: tuple[NDArray[np.float64], float]) -> float:
    return -proposal[1]


def _proposals(
    heatmap: NDArray[np.float32],
    whole: Sequence[Detection],
    height: int,
    width: int,
    threshold: float,
) -> list[tuple[NDArray[np.float64], float]]:
    """Boxes xyxy, pixels of the picture, and how promising each is."""
    found = [(d.box.astype(np.float64), d.score) for d in whole]
    hot = (np.nan_to_num(heatmap) >= threshold).astype(np.uint8)
    joined = cv2.dilate(hot, np.ones((_JOIN, _JOIN), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    scale = np.array([width / heatmap.shape[1], height / heatmap.shape[0]] * 2)
    for index in range(1, count):
        x, y, w, h = stats[index, :4].tolist()
        peak = float(heatmap[y : y + h, x : x + w][labels[y : y + h, x : x + w] == index].max())
        found.append((np.array([x, y, x + w, y + h]) * scale, peak))
    return found


def _holds(window: Window, box: NDArray[np.float64]) -> bool:
    """Whether ``box`` lies inside with some room around it."""
    room = 0.05 * (window[2] - window[0])
    inside = (box[:2] >= np.array(window[:2]) + room) | (box[:2] <= 0)
    return bool(inside.all() and (box[2:] <= np.array(window[2:]) - room).all())


def _around(box: NDArray[np.float64], side: float, height: int, width: int) -> Window:
    """A square of ``side`` around the middle of ``box``, moved and cut to fit the picture."""
    edges = []
    for low, high, size in ((box[0], box[2], width), (box[1], box[3], height)):
        length = min(round(side), size)
        start = int(np.clip(round((low + high - length) / 2), 0, size - length))
        edges.append((start, start + length))
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1
