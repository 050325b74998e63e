"""Shapes of labelme's JSON files: polygons, rectangles and masks."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.scenes.scene import Mask

Polygon = NDArray[np.float64]  # (n, 2) xy, pixels of the upright picture
Patch = tuple[Mask, tuple[int, int]]
"""A mask and the pixel x, y of the picture at which its top left corner lies."""

_NO_POLYGON: Polygon = np.zeros((0, 2))


@dataclass(frozen=True)
class Shape:
    """One shape: a patch where it is a mask, a polygon where it is anything else."""

    label: object
    group: int | None  # shapes of one group belong together
    polygon: Polygon
    patch: Patch | None


def read_labelme(path: Path, text: str, size: tuple[int, int]) -> list[Shape]:
    """The shapes of a labelme file ``path``, whose content is ``text``.

    ``size`` (height, width) is the picture's. Raises TrainingError that names the shape.
    """
    try:
        content = json.loads(text)
        shapes = content["shapes"]
        if not isinstance(shapes, list):
            raise TypeError("shapes is no list")
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path}: no labelme file ({error}); expected JSON with a list of shapes"
        ) from error
    said = (content.get("imageHeight"), content.get("imageWidth"))
    if None not in said and said != size:
        raise TrainingError(
            f"{path}: made for a picture of height, width {said}, but the picture beside it has "
            f"{size}; label the picture that lies there"
        )
    return [_shape(shape, f"{path}, shape {number}") for number, shape in enumerate(shapes, 1)]


def _shape(shape: object, where: str) -> Shape:
    if not isinstance(shape, Mapping):
        raise TrainingError(f"{where}: expected an object with label and points")
    form = shape.get("shape_type") or "polygon"
    if form not in ("polygon", "rectangle", "mask"):
        raise TrainingError(f"{where}: shape_type {form!r}, expected polygon")
    try:
        group = None if shape.get("group_id") is None else int(shape["group_id"])
        points = np.array(shape["points"], np.float64).reshape(-1, 2)
    except (KeyError, ValueError, TypeError):
        raise TrainingError(f"{where}: points are missing or no xy pairs") from None
    if not all(math.isfinite(v) for v in points.flat):
        raise TrainingError(f"{where}: points must be finite")
    if form == "mask":
        return Shape(shape.get("label"), group, _NO_POLYGON, _patch(shape, points, where))
    if form == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points.tolist()
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if len(points) < 3:
        raise TrainingError(f"{where}: got {len(points)} points, expected 3 or more")
    return Shape(shape.get("label"), group, points, None)


def _patch(shape: Mapping[str, Any], points: Polygon, where: str) -> Patch:
    """labelme 5.3 and newer: a PNG between two corner pixels, both included."""
    from PIL import Image

    try:
        (left, top), (right, bottom) = np.round(points).astype(int).tolist()
        png = Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"])
        if png.size != (right - left + 1, bottom - top + 1) or min(left, top) < 0:
            raise ValueError(f"it has {png.width} x {png.height} pixels, its corners say otherwise")
        return np.asarray(png.convert("L")) > 0, (left, top)
    except Exception as error:  # base64 and Pillow raise many kinds
        raise TrainingError(
            f"{where}: no mask ({error}); expected a PNG of 0 and 1 in base64 and its two corners"
        ) from None
