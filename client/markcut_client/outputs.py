"""Extractions in the formats that other programs read: result JSON, COCO, labelme."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from markcut_client import wire
from markcut_client.masks import Rle
from markcut_client.results import Extraction

__all__ = ["SUFFIXES", "CocoAnnotations", "coco", "encoded", "labelme", "png"]

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Ends of names, in lower case, of the pictures that :func:`encoded` can make, and formats."""

_LABELME_VERSION = "5.5.0"  # the first with masks is 5.3


class CocoAnnotations:
    """COCO's annotation file, picture by picture; only run lengths are kept.

    Categories are the kinds of marks; an annotation's segmentation is the object that the mark
    means, as run lengths. Three more fields ride along, which COCO's readers pass by: ``mark``
    (kind, score, box, and the ink's segmentation), ``score`` and ``reason``.
    """

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Pictures so far."""
        return len(self._images)

    def add(self, extraction: Extraction) -> None:
        """Append one picture and its objects."""
        image_id = len(self._images) + 1
        self._images.append(
            {
                "id": image_id,
                "file_name": Path(extraction.picture).as_posix(),
                "width": extraction.width,
                "height": extraction.height,
            }
        )
        for found in extraction:
            fields = found.to_json()
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": wire.KINDS.index(found.mark.kind) + 1,
                    "iscrowd": 0,
                    **{
                        name: fields[name]
                        for name in ("segmentation", "bbox", "area", "score", "reason", "mark")
                    },
                }
            )

    def to_json(self) -> dict[str, Any]:
        """The whole file as what ``json.dumps`` takes."""
        return {
            "info": {"description": "marked objects found by Markcut"},
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [
                {"id": index + 1, "name": kind, "supercategory": "mark"}
                for index, kind in enumerate(wire.KINDS)
            ],
        }


def coco(extractions: Iterable[Extraction]) -> dict[str, Any]:
    """COCO's annotation file of all ``extractions``; see :class:`CocoAnnotations`."""
    annotations = CocoAnnotations()
    for extraction in extractions:
        annotations.add(extraction)
    return annotations.to_json()


def labelme(extraction: Extraction, *, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """labelme's file (5.3 or newer) of one picture, to be stored in ``folder``.

    Every object is two shapes of one ``group_id``: the object, labelled ``object``, and the
    mark's ink, labelled with its kind. Both are of the type ``mask``, pixel for pixel what was
    found. The picture is named relative to ``folder`` and not embedded.
    """
    shapes = []
    for index, found in enumerate(extraction):
        said = f"{found.mark.kind} {found.mark.score:.2f}: {found.reason}"
        for label, segmentation, description in (
            ("object", found.segmentation, said),
            (found.mark.kind, found.mark.segmentation, ""),
        ):
            if segmentation.area:
                shapes.append(_labelme_shape(label, segmentation, index, description))
    return {
        "version": _LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": _relative(extraction.picture, Path(folder)),
        "imageData": None,
        "imageHeight": extraction.height,
        "imageWidth": extraction.width,
    }


def encoded(image: Image.Image, suffix: str) -> bytes:
    """``image``, RGB, as the bytes of a file whose name ends in ``suffix``, one of SUFFIXES."""
    kind = SUFFIXES[suffix.lower()]
    if kind == "PNG":
        return png(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=92)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """``image`` as the bytes of a PNG, compressed quickly."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _labelme_shape(label: str, segmentation: Rle, group: int, description: str) -> dict[str, Any]:
    """A mask shape: a PNG of 0 and 1 between two corner pixels, both included."""
    x, y, width, height = segmentation.bbox
    part = segmentation.decode()[y : y + height, x : x + width]
    return {
        "label": label,
        "points": [[x, y], [x + width - 1, y + height - 1]],
        "group_id": group,
        "description": description,
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(png(Image.fromarray(part.astype(np.uint8)))).decode("ascii"),
    }


def _relative(picture: str, folder: Path) -> str:
    if not picture:
        return ""
    there = Path(picture).parent.resolve() / Path(picture).name
    try:
        return Path(os.path.relpath(there, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return there.as_posix()
