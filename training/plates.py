"""Plates: the parts of a marked picture that are worth keeping in memory to crop views from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS
from training.scenes.scene import Mask, Picture, Scene

_WHOLE_SIDE = 1280  # a whole picture is kept at most this big
_CROP_SIDE = 800  # around marks of bigger pictures, at their own resolution
_CROPS = 4
_GLOW = 6  # grey levels that ink changes around it, where it is erased
_INK_COVERAGE = 0.4  # of a pixel, when ink is scaled down

Window = tuple[int, int, int, int]  # xyxy; may reach over the border


@dataclass(frozen=True)
class PlateMark:
    """A mark on a plate: ``ink`` fills ``box`` (xyxy), ``clean`` is what was there before.

    ``clean`` fills ``clean_box``, which is ``box`` and some margin.
    ``area`` counts the ink pixels that the whole mark would have at this scale, also where a cut
    took some away; ``tip`` is an arrow's (xy), without it an arrow is a line.
    """

    kind: int
    box: Window
    ink: Mask
    area: float
    clean: Picture | None
    clean_box: Window
    width: float  # of the stroke
    tip: tuple[float, float] | None

    @property
    def size(self) -> int:
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


@dataclass(frozen=True)
class Plate:
    """A picture, or a crop of one, with the marks on it; ``whole`` says which."""

    picture: Picture
    marks: tuple[PlateMark, ...]
    whole: bool


def mark_from_mask(
    kind: int,
    ink: Mask,
    *,
    clean: Picture | None = None,
    width: float = 0.0,
    tip: tuple[float, float] | None = None,
    area: float | None = None,
) -> PlateMark | None:
    """A plate's mark from an ink mask of the plate's size; None where there is no ink."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return None
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    margin = 8 + int(1.5 * width)
    clean_box = (
        max(0, box[0] - margin),
        max(0, box[1] - margin),
        min(ink.shape[1], box[2] + margin),
        min(ink.shape[0], box[3] + margin),
    )
    patch = None if clean is None else _part(clean, clean_box).copy()
    part = _part(ink, box).copy()
    full = float(np.count_nonzero(part)) if area is None else area
    return PlateMark(kind, box, part, full, patch, clean_box, width, tip)


def _part(array: NDArray[Any], box: Window) -> NDArray[Any]:
    return array[box[1] : box[3], box[0] : box[2]]


def plates_of(scene: Scene) -> tuple[Plate, ...]:
    """The plates of a generated scene; where crops lie follows from its seed."""
    marks = (
        mark_from_mask(KINDS.index(m.kind), m.ink, clean=scene.clean, width=m.width, tip=m.tip)
        for m in scene.marks
    )
    plate = Plate(scene.picture, tuple(m for m in marks if m is not None), whole=True)
    return reduced(plate, np.random.default_rng(scene.seed))


def reduced(plate: Plate, rng: np.random.Generator) -> tuple[Plate, ...]:
    """The whole plate, at most 1280 px, and native-resolution crops of a bigger one.

    Crops lie around marks and, for what looks like a mark and is none, elsewhere.
    """
    height, width = plate.picture.shape[:2]
    scale = min(1.0, _WHOLE_SIDE / max(height, width))
    if scale == 1.0:
        return (plate,)
    plates = [_scaled(plate, scale)]
    chosen = [plate.marks[i] for i in rng.permutation(len(plate.marks))[: _CROPS - 1]]
    for mark in [*chosen, None]:
        window = _crop_window(rng, mark, (height, width))
        crop = cut(plate, window)
        plates.append(_scaled(crop, min(1.0, _WHOLE_SIDE * 0.8 / max(crop.picture.shape[:2]))))
    return tuple(plates)


def _crop_window(
    rng: np.random.Generator, mark: PlateMark | None, shape: tuple[int, int]
) -> Window:
    side = _CROP_SIDE if mark is None else max(_CROP_SIDE, int(1.3 * mark.size))
    corner = []
    for axis in (0, 1):
        extent = shape[1 - axis]
        middle = rng.uniform(0, extent)
        if mark is not None:
            middle = (mark.box[axis] + mark.box[axis + 2]) / 2
            middle += rng.uniform(-0.15, 0.15) * _CROP_SIDE
        corner.append(int(np.clip(middle - side / 2, 0, max(0, extent - side))))
    x, y = corner
    return (x, y, min(shape[1], x + side), min(shape[0], y + side))


def _scaled(plate: Plate, scale: float) -> Plate:
    if scale == 1.0:
        return replace(plate, picture=plate.picture.copy())
    height, width = plate.picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    clean = plate.picture.copy()
    for mark in plate.marks:
        if mark.clean is not None:
            _part(clean, mark.clean_box)[:] = mark.clean
    smaller = cv2.resize(clean, size, interpolation=cv2.INTER_AREA)
    marks = []
    for mark in plate.marks:
        ink = np.zeros((height, width), np.float32)
        _part(ink, mark.box)[mark.ink] = 1.0
        cover: Mask = cv2.resize(ink, size, interpolation=cv2.INTER_AREA) >= _INK_COVERAGE
        share = float(cover.sum()) / float(mark.ink.sum())
        marks.append(
            mark_from_mask(
                mark.kind,
                cover,
                clean=None if mark.clean is None else np.asarray(smaller, np.uint8),
                width=mark.width * scale,
                tip=None if mark.tip is None else (mark.tip[0] * scale, mark.tip[1] * scale),
                area=mark.area * share,
            )
        )
    picture = cv2.resize(plate.picture, size, interpolation=cv2.INTER_AREA)
    kept = tuple(m for m in marks if m is not None)
    return Plate(np.asarray(picture, np.uint8), kept, plate.whole)


def cut(plate: Plate, window: Window, *, fill: int = 114) -> Plate:
    """The part of a plate inside ``window``; beyond the plate's border it is grey."""
    x0, y0, x1, y1 = window
    height, width = plate.picture.shape[:2]
    picture = np.full((y1 - y0, x1 - x0, 3), fill, np.uint8)
    inside = _common(window, (0, 0, width, height))
    if inside is not None:
        _part(picture, _shifted(inside, x0, y0))[:] = _part(plate.picture, inside)
    marks = tuple(m for m in (_cut_mark(mark, window) for mark in plate.marks) if m is not None)
    return Plate(picture, marks, whole=False)


def _cut_mark(mark: PlateMark, window: Window) -> PlateMark | None:
    left, top = window[:2]
    box = _common(mark.box, window)
    if box is None:
        return None
    ink = _part(mark.ink, _shifted(box, *mark.box[:2]))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return None
    tight = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    clean_box = _common(mark.clean_box, window) or box
    clean = mark.clean
    if clean is not None:
        clean = _part(clean, _shifted(clean_box, *mark.clean_box[:2]))
    return replace(
        mark,
        box=_shifted(tight, left - box[0], top - box[1]),
        ink=_part(ink, tight),
        clean=clean,
        clean_box=_shifted(clean_box, left, top),
        tip=None if mark.tip is None else (mark.tip[0] - left, mark.tip[1] - top),
    )


def _common(a: Window, b: Window) -> Window | None:
    box = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return box if box[2] > box[0] and box[3] > box[1] else None


def _shifted(box: Window, x: int, y: int) -> Window:
    return (box[0] - x, box[1] - y, box[2] - x, box[3] - y)


def erase(plate: Plate, keep: Sequence[bool]) -> Plate:
    """``plate`` without the marks that ``keep`` says False for; others' ink stays as it is.

    A mark without a clean patch cannot be erased: its ink stays, its label goes.
    """
    picture = plate.picture.copy()
    kept = [m for m, wanted in zip(plate.marks, keep, strict=True) if wanted]
    others = np.zeros(picture.shape[:2], np.uint8)
    for mark in kept:
        _part(others, mark.box)[mark.ink] = 1
    others = np.asarray(cv2.dilate(others, np.ones((5, 5), np.uint8)))
    for mark, wanted in zip(plate.marks, keep, strict=True):
        if wanted or mark.clean is None:
            continue
        region = np.zeros(picture.shape[:2], np.uint8)
        _part(region, mark.box)[mark.ink] = 1
        around = _part(region, mark.clean_box)
        reach = 2 * (7 + int(mark.width / 3)) + 1
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        here = _part(picture, mark.clean_box)
        glow = cv2.absdiff(here, mark.clean).max(axis=2) > _GLOW
        gone = ((cv2.dilate(around, ellipse) > 0) | glow) & (_part(others, mark.clean_box) == 0)
        here[gone] = mark.clean[gone]
    return Plate(picture, tuple(kept), plate.whole)
