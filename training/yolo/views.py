"""Random views of plates as the network sees pictures: the whole one at 640, and close crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS, YOLO_SIDE
from training.colours import recoloured
from training.plates import Plate, PlateMark, Window, cut, erase
from training.scenes.scene import Picture
from training.yolo.fresh import with_fresh_marks

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")

_LEAST_INK = 0.5  # of a mark must be inside the view
_LEAST_SIZE = 4.0  # pixels of a mark's longer side
_ARROW = KINDS.index("arrow")
_SOFT = 2.5  # a mask cell counts fully from 1 / 2.5 of coverage on: thin ink stays visible


@dataclass(frozen=True)
class View:
    """One training picture with its labels."""

    picture: Picture  # (side, side, 3)
    kinds: NDArray[np.int64]  # (n,)
    boxes: NDArray[np.float32]  # (n, 4) xyxy, pixels
    masks: NDArray[np.uint8]  # (n, side / 4, side / 4), 255 where a cell is ink


def letterboxed(plate: Plate, side: int) -> View:
    """The whole plate in the middle of a square, as at inference."""
    height, width = plate.picture.shape[:2]
    scale = side / max(height, width)
    left, top = round((side / scale - width) / 2), round((side / scale - height) / 2)
    window = (-left, -top, -left + round(side / scale), -top + round(side / scale))
    return _finish(cut(plate, window), side, cv2.INTER_AREA)


def random_view(
    plates: Sequence[Plate],
    rng: np.random.Generator,
    *,
    side: int,
    clean: float = 0.2,
    fresh: bool = False,
) -> View:
    """A view of one of a picture's plates; ``clean`` is the share of views without any mark.

    Views smaller than 640 are mostly windows of what the network sees at 640, so that they cost
    less and teach the same sizes. ``fresh`` draws more marks on it (``training.yolo.fresh``).
    """
    plate = plates[0] if len(plates) == 1 or rng.random() < 0.5 else _pick(rng, plates[1:])
    target = _pick(rng, plate.marks) if plate.marks and rng.random() < 0.94 else None
    scale = _scale(plate, rng, side)
    if target is not None and rng.random() < 0.85:
        scale = min(scale, 0.92 * side / target.size)
    stretch = float(np.exp(rng.normal(0.0, 0.06)))
    size = (side / scale * stretch, side / scale / stretch)
    view = cut(plate, _window(plate, target, size, rng))
    unmarked = rng.random() < clean
    keep = _kept(view, scale, rng, unmarked)
    if not all(keep):
        view = erase(view, keep)
    if fresh:
        view = with_fresh_marks(view, rng, scale=scale, unmarked=unmarked)
    method = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
    finished = _finish(view, side, method)
    return _flipped(replace(finished, picture=recoloured(finished.picture, rng)), rng)


def _pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def _scale(plate: Plate, rng: np.random.Generator, side: int) -> float:
    longer = max(plate.picture.shape[:2])
    fit = YOLO_SIDE / float(longer)
    luck = rng.random()
    if plate.whole and luck < (0.6 if side == YOLO_SIDE else 0.45):
        return fit * float(np.exp(rng.normal(0.0, 0.03)))
    if plate.whole and luck < 0.7:
        return max(side / float(longer), fit * float(rng.uniform(0.4, 1.0)))
    low, high = (fit, max(1.3, 1.5 * fit)) if plate.whole else (min(0.5, fit), 1.3)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _window(
    plate: Plate, target: PlateMark | None, size: tuple[float, float], rng: np.random.Generator
) -> Window:
    """A window of ``size`` (width, height); the whole target inside it, but for one in ten."""
    spare = 0.3 if rng.random() < 0.1 else 0.0
    corner = []
    for axis in (0, 1):
        extent = plate.picture.shape[1 - axis]
        low, high = min(0.0, extent - size[axis]), max(0.0, extent - size[axis])
        if target is not None:
            begin, end = target.box[axis], target.box[axis + 2]
            slack = spare * (end - begin)
            inner = sorted((end - size[axis] - slack, begin + slack))
            low, high = np.clip(inner, low, high)
        corner.append(round(float(rng.uniform(low, high))))
    return (corner[0], corner[1], corner[0] + round(size[0]), corner[1] + round(size[1]))


def _kept(view: Plate, scale: float, rng: np.random.Generator, unmarked: bool) -> list[bool]:
    if unmarked and all(m.clean is not None for m in view.marks):
        return [False] * len(view.marks)
    kept = []
    for mark in view.marks:
        enough = bool(np.count_nonzero(mark.ink) >= _LEAST_INK * mark.area)
        enough = enough and mark.size * scale >= _LEAST_SIZE
        if mark.kind == _ARROW and mark.tip is not None:
            inside = [0 <= v < s for v, s in zip(mark.tip, view.picture.shape[1::-1], strict=True)]
            enough = enough and all(inside)
        kept.append(enough and not (mark.clean is not None and rng.random() < 0.06))
    return kept


def _finish(view: Plate, side: int, method: int) -> View:
    height, width = view.picture.shape[:2]
    if min(height, width) < side:
        method = cv2.INTER_LINEAR
    picture = cv2.resize(view.picture, (side, side), interpolation=method)
    factors = np.array([side / width, side / height] * 2, np.float32)
    boxes = np.array([m.box for m in view.marks], np.float32).reshape(-1, 4) * factors
    masks = np.zeros((len(view.marks), side // 4, side // 4), np.uint8)
    for mask, mark in zip(masks, view.marks, strict=True):
        mask[:] = _cells(mark, (height, width), side // 4)
    kinds = np.array([m.kind for m in view.marks], np.int64)
    return View(np.asarray(picture, np.uint8), kinds, boxes, masks)


def _cells(mark: PlateMark, shape: tuple[int, int], cells: int) -> NDArray[np.uint8]:
    """Ink coverage of every mask cell, soft: 255 from ``1 / _SOFT`` of the cell on."""
    ink = np.zeros(shape, np.float32)
    x0, y0, x1, y1 = mark.box
    ink[y0:y1, x0:x1] = mark.ink
    cover = cv2.resize(ink, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(np.minimum(cover * (_SOFT * 255.0), 255.0), np.uint8)


def _flipped(view: View, rng: np.random.Generator) -> View:
    if rng.random() >= 0.3:
        return view
    side = view.picture.shape[1]
    boxes = view.boxes.copy()
    boxes[:, [0, 2]] = side - boxes[:, [2, 0]]
    return View(view.picture[:, ::-1], view.kinds, boxes, view.masks[:, :, ::-1])


def collate(views: Sequence[View]) -> dict[str, torch.Tensor]:
    """A batch as ultralytics' loss takes it: boxes xywh in parts of the side, masks one by one.

    ``img`` stays uint8 (b, 3, side, side); ``masks`` is (n, side / 4, side / 4), uint8, soft.
    """
    import torch

    side = views[0].picture.shape[0]
    xyxy = np.concatenate([v.boxes for v in views]) / side
    xywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    index = np.repeat(np.arange(len(views)), [len(v.kinds) for v in views])
    pictures = np.stack([v.picture for v in views]).transpose(0, 3, 1, 2)
    return {
        "img": torch.from_numpy(np.ascontiguousarray(pictures)),
        "cls": torch.from_numpy(np.concatenate([v.kinds for v in views])).float()[:, None],
        "bboxes": torch.from_numpy(xywh.astype(np.float32)),
        "batch_idx": torch.from_numpy(index).float(),
        "masks": torch.from_numpy(np.concatenate([v.masks for v in views])),
    }
