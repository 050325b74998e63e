"""Labels of a user's own marked pictures: YOLO-seg text files and labelme JSON files.

A picture's labels are ``NAME.txt`` or ``NAME.json``, beside it or in a folder ``labels`` where
the picture lies in ``images``. A picture without either is not used; an empty ``NAME.txt`` or an
empty list of shapes says that nothing is drawn there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from markcut.contracts import KINDS
from training.errors import TrainingError
from training.folder_pictures import SUFFIXES, picture_paths, picture_size
from training.scenes.scene import Mask
from training.yolo.labelme import Patch, Polygon, read_labelme

CLASSES_FILE = "data.yaml"
_FINE_PIXELS = 4_000_000
_OBJECT = "object"  # `markcut extract --format labelme` names what marks mean so; it is no mark


@dataclass(frozen=True)
class LabelledMark:
    """One mark: index into KINDS, and the polygons and patches that together are its ink."""

    kind: int
    polygons: tuple[Polygon, ...]
    patches: tuple[Patch, ...] = ()

    def ink(self, height: int, width: int) -> Mask:
        """Its ink as a mask; a hole is drawn by a keyhole polygon that goes round it and back."""
        mask = np.zeros((height, width), bool)
        for polygon in self.polygons:
            low = np.clip(np.floor(polygon.min(0)), 0, (width, height)).astype(int)
            high = np.clip(np.ceil(polygon.max(0)), 0, (width, height)).astype(int)
            if (high > low).all():
                size = (int(high[0] - low[0]), int(high[1] - low[1]))
                mask[low[1] : high[1], low[0] : high[0]] |= _filled(polygon - low, size)
        for patch, (x, y) in self.patches:
            there = mask[y : y + patch.shape[0], x : x + patch.shape[1]]
            there |= patch[: there.shape[0], : there.shape[1]]
        return mask


def _filled(polygon: Polygon, size: tuple[int, int]) -> Mask:
    """Pixels at least half inside; drawn finer, since fillPoly paints the outline as well."""
    fine = 4 if size[0] * size[1] < _FINE_PIXELS else 1
    drawn = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    points = np.round((polygon * fine - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(drawn, [points], (255,), shift=4)
    inside: Mask = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA) > 127
    return inside


@dataclass(frozen=True)
class LabelledPicture:
    """A picture's file and the marks on it."""

    path: Path
    marks: tuple[LabelledMark, ...]


def read_folder(folder: Path) -> list[LabelledPicture]:
    """Every labelled picture below ``folder``, all label files read and checked.

    Class numbers of text files index KINDS, or the ``names`` of ``data.yaml`` in ``folder``.
    Raises TrainingError that names file, line and remedy for the first label file that is
    wrong, and for a folder without labelled pictures.
    """
    if not folder.is_dir():
        raise TrainingError(f"--data: {folder} is no folder")
    kinds = _class_kinds(folder)
    pictures = []
    for path in picture_paths(folder):
        label = _label_file(path)
        if label is None:
            continue
        size = picture_size(path)
        if label.suffix == ".json":
            marks = _labelme_marks(label, size)
        else:
            marks = _read_yolo(label, size, kinds)
        pictures.append(LabelledPicture(path, tuple(marks)))
    if not pictures:
        raise TrainingError(
            f"--data: no labelled picture below {folder}; expected pictures ({_suffixes()}) with "
            "NAME.txt (YOLO-seg) or NAME.json (labelme) beside them or in labels/"
        )
    return pictures


def _suffixes() -> str:
    return ", ".join(sorted(s[1:] for s in SUFFIXES))


def _label_file(picture: Path) -> Path | None:
    places = [picture.parent]
    if "images" in picture.parts[:-1]:
        parts = list(picture.parts[:-1])
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
        places.append(Path(*parts))
    for place in places:
        for suffix in (".json", ".txt"):
            label = place / (picture.stem + suffix)
            if label.is_file():
                return label
    return None


def _class_kinds(folder: Path) -> list[int]:
    """Index into KINDS of every class number."""
    path = folder / CLASSES_FILE
    if not path.is_file():
        return list(range(len(KINDS)))
    import yaml  # type: ignore[import-untyped]

    try:
        names = yaml.safe_load(_text(path))["names"]
        ordered = [names[i] for i in range(len(names))]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path}: no names of classes in it ({error}); expected names: [first, second, ...]"
        ) from error
    return [_kind(name, f"{path}, class {i}") for i, name in enumerate(ordered)]


def _kind(name: object, where: str) -> int:
    if not isinstance(name, str) or name not in KINDS:
        raise TrainingError(f"{where}: unknown label {name!r}, expected one of {', '.join(KINDS)}")
    return KINDS.index(name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: cannot be read as text ({error})") from error


def _labelme_marks(path: Path, size: tuple[int, int]) -> list[LabelledMark]:
    groups: dict[tuple[int, int], tuple[list[Polygon], list[Patch]]] = {}
    for number, shape in enumerate(read_labelme(path, _text(path), size), 1):
        if shape.label == _OBJECT:
            continue
        kind = _kind(shape.label, f"{path}, shape {number}")
        key = (kind, -number if shape.group is None else shape.group)
        polygons, patches = groups.setdefault(key, ([], []))
        if shape.patch is not None:
            patches.append(shape.patch)
        else:
            polygons.append(shape.polygon)
    return [LabelledMark(kind, tuple(a), tuple(b)) for (kind, _), (a, b) in groups.items()]


def _read_yolo(path: Path, size: tuple[int, int], kinds: Sequence[int]) -> list[LabelledMark]:
    height, width = size
    marks = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        try:
            values = [float(v) for v in fields]
        except ValueError:
            raise TrainingError(
                f"{where}: expected numbers (class x1 y1 x2 y2 ...), got {line[:60]!r}"
            ) from None
        if len(values) == 5:
            raise TrainingError(
                f"{where}: this is a box, expected a polygon (class x1 y1 x2 y2 x3 y3 ...): "
                "marks are learned with their ink"
            )
        if len(values) < 7 or len(values) % 2 == 0:
            raise TrainingError(
                f"{where}: got {len(values)} numbers, expected a class and at least 3 xy pairs"
            )
        if values[0] not in range(len(kinds)):
            raise TrainingError(
                f"{where}: unknown class {fields[0]}, expected 0..{len(kinds) - 1} (the kinds "
                f"{', '.join(KINDS)}, or the names in {CLASSES_FILE})"
            )
        points = np.array(values[1:]).reshape(-1, 2)
        if not np.isfinite(points).all() or points.min() < -0.01 or points.max() > 1.01:
            raise TrainingError(f"{where}: coordinates must be parts of the picture's side, 0..1")
        marks.append(LabelledMark(kinds[int(values[0])], (points * (width, height),)))
    return marks
