"""Points, labels, boxes and earlier masks as people write them, to the wire's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markcut_client import wire
from markcut_client.errors import ParameterError
from markcut_client.wire import Array

_FARTHEST = 1e6  # pixels: no picture is as big, and float32 still tells pixels apart


@runtime_checkable
class HasLogits(Protocol):
    """What can be refined: an object of an earlier answer."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32 (h, w), above 0 inside of the object."""


Points = ArrayLike | Sequence[Any]
"""One point (2,), one object's points (P, 2), or a sequence with the points of every object."""
Labels = ArrayLike | Sequence[Any]
"""As the points, without the last axis: 1 where a point is on the object, 0 where it is not."""
Boxes = ArrayLike | Sequence[Any]
"""One box (4,) or one per object (N, 4), xyxy; None in a sequence for an object without a box."""
Earlier = HasLogits | ArrayLike | Sequence[Any]
"""An object of an earlier answer or its ``logits``; or a sequence of them, None for an object
without."""


def prompt_inputs(
    *,
    points: Points | None,
    labels: Labels | None,
    boxes: Boxes | None,
    earlier: Earlier | None,
) -> dict[str, Array]:
    """The inputs of ``wire.PROMPTED_OBJECT`` but for the picture.

    Raises :class:`ParameterError` for what is no point, label, box or mask, for different
    numbers of objects, for an object with neither a point nor a box, and for one with points that
    are not on it alone, where there is no earlier mask to take them from.
    """
    point_sets = None if points is None else _per_object("points", points, (2,))
    label_sets = None if labels is None else _per_object("labels", labels, ())
    box_rows = None if boxes is None else _boxes(boxes)
    planes = None if earlier is None else _planes(earlier)
    count = _count({"points": point_sets, "boxes": box_rows, "earlier": planes})
    point_sets, label_sets = _labelled(point_sets, label_sets, count)
    rows = np.full((count, 4), np.nan, np.float32) if box_rows is None else np.stack(box_rows)
    for index in range(count):
        if np.isfinite(rows[index]).all() or (label_sets[index] == wire.FOREGROUND).any():
            continue
        if not (label_sets[index] == wire.BACKGROUND).any():
            raise ParameterError(f"object {index} has neither a point nor a box; give it one")
        if planes is None or planes[index] is None:
            raise ParameterError(
                f"object {index}: give it a point that is on the object, or a box; got none but "
                "points that are not on it"
            )
    longest = max(1, *(len(one) for one in label_sets))
    coords = np.zeros((count, longest, 2), np.float32)
    marks = np.full((count, longest), wire.PADDING, np.int32)
    for index in range(count):
        coords[index, : len(point_sets[index])] = point_sets[index]
        marks[index, : len(label_sets[index])] = label_sets[index]
    return {
        wire.POINT_COORDS.name: coords,
        wire.POINT_LABELS.name: marks,
        wire.BOXES.name: rows,
        wire.EARLIER_LOGITS.name: _stacked(planes, count),
    }


def _per_object(name: str, value: Any, item: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """One array (P, *item) per object, whichever of the three ways they were written in."""
    whole = _points_of_one(value, item)
    if whole is not None and len(whole):
        return [_finite(name, whole)]
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) == 0:
        raise _no(name, value, item)
    found = []
    for one in value:
        single = np.zeros((0, *item)) if one is None else _points_of_one(one, item)
        if single is None:
            raise _no(name, value, item)
        found.append(_finite(name, single))
    return found


def _points_of_one(value: Any, item: tuple[int, ...]) -> NDArray[np.float64] | None:
    """(P, *item) from that or from one item alone; None where ``value`` is neither."""
    array = _numbers(value)
    if array is not None and array.shape == (0,):
        return np.zeros((0, *item))
    if array is not None and array.shape == item:
        return array[None]
    if array is None or array.ndim != len(item) + 1 or array.shape[1:] != item:
        return None
    return array


def _numbers(value: Any) -> NDArray[np.float64] | None:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _finite(name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (np.isfinite(array).all() and (np.abs(array) <= _FARTHEST).all()):
        raise ParameterError(f"{name}: got NaN, infinity or beyond any picture, expected pixels")
    return array


def _no(name: str, value: Any, item: tuple[int, ...]) -> ParameterError:
    shapes = "(2,), (P, 2) or (N, P, 2)" if item else "(P,) or (N, P), as the points"
    return ParameterError(
        f"{name}: got {_shown(value)}, expected numbers {shapes}; where objects have different "
        "numbers of points, a sequence with one array per object"
    )


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:60] + "..."


def _labelled(
    points: list[NDArray[np.float64]] | None, labels: list[NDArray[np.float64]] | None, count: int
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Points and labels of every object; labels are 1 where none were given."""
    if points is None:
        if labels is not None:
            raise ParameterError("labels: got some, expected points that they belong to")
        return [np.zeros((0, 2))] * count, [np.zeros(0)] * count
    if labels is None:
        return points, [np.full(len(one), float(wire.FOREGROUND)) for one in points]
    lengths, wanted = [len(one) for one in labels], [len(one) for one in points]
    if lengths != wanted:
        raise ParameterError(
            f"labels: got {_lengths(lengths)}, expected one per point: {_lengths(wanted)}"
        )
    for one in labels:
        if not np.isin(one, (wire.FOREGROUND, wire.BACKGROUND, wire.PADDING)).all():
            raise ParameterError(
                f"labels: got {_shown(one.tolist())}, expected 1 for on the object, 0 for not, "
                "-1 for padding"
            )
    return points, labels


def _lengths(lengths: list[int]) -> str:
    shown = ", ".join(map(str, lengths[:8])) + (", ..." if len(lengths) > 8 else "")
    return f"{shown} for {len(lengths)} object{'' if len(lengths) == 1 else 's'}"


def _boxes(value: Any) -> list[NDArray[np.float32]]:
    array = _numbers(value)
    if array is not None and array.shape == (4,):
        value = array = array[None]
    alone = isinstance(value, str) or (array is not None and array.ndim < 2)
    if alone or not isinstance(value, Sequence | np.ndarray) or len(value) == 0:
        raise _no_box(value)
    rows = []
    for index, one in enumerate(value):
        row = np.full(4, np.nan) if one is None else _numbers(one)
        if row is None or row.shape != (4,):
            raise _no_box(one, index)
        if one is not None and not (np.isfinite(row).all() and (np.abs(row) <= _FARTHEST).all()):
            raise ParameterError(
                f"boxes: got {_listed(row)} for object {index}, expected pixels, not NaN, infinity "
                "or beyond any picture; None stands for no box"
            )
        if row[0] >= row[2] or row[1] >= row[3]:  # never for NaN
            raise _no_box(row, index)
        rows.append(row.astype(np.float32))
    return rows


def _no_box(value: Any, index: int | None = None) -> ParameterError:
    numbers = _numbers(value)
    shown = _shown(value) if numbers is None or numbers.shape != (4,) else _listed(numbers)
    whose = "" if index is None else f" for object {index}"
    return ParameterError(
        f"boxes: got {shown}{whose}, expected x0, y0, x1, y1 with x0 < x1 and y0 < y1, or one "
        "such row per object"
    )


def _listed(numbers: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers.tolist())})"


def _planes(value: Any) -> list[NDArray[np.float32] | None]:
    if isinstance(value, HasLogits) or (isinstance(value, np.ndarray) and value.ndim == 2):
        value = [value]
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) == 0:
        raise _no_plane(value)
    planes: list[NDArray[np.float32] | None] = []
    for one in value:
        plane = one.logits if isinstance(one, HasLogits) else one
        if plane is None:
            planes.append(None)
            continue
        if not isinstance(plane, np.ndarray) or plane.ndim != 2 or plane.dtype.kind != "f":
            raise _no_plane(one if isinstance(one, np.ndarray) else value)
        with np.errstate(over="ignore"):  # becomes infinity, which is looked for next
            narrow = plane.astype(np.float32)
        if not np.isfinite(narrow).all():
            raise ParameterError(
                "earlier: got NaN, infinity or beyond +-3.4e38, the most of float32; expected an "
                "answer's logits"
            )
        planes.append(narrow)
    if len({plane.shape for plane in planes if plane is not None}) > 1:
        raise ParameterError("earlier: got logits of different sizes, expected one engine's")
    return planes


def _no_plane(value: Any) -> ParameterError:
    return ParameterError(
        f"earlier: got {_shown(value)}, expected an object of an earlier answer, its logits "
        "float32 (h, w), or a sequence of them with None for objects without"
    )


def _stacked(planes: list[NDArray[np.float32] | None] | None, count: int) -> NDArray[np.float32]:
    """(N, h, w), NaN where there is none; (N, 1, 1) where there is none at all."""
    shape = next((plane.shape for plane in planes or () if plane is not None), (1, 1))
    stacked = np.full((count, *shape), np.nan, np.float32)
    for index, plane in enumerate(planes or ()):
        if plane is not None:
            stacked[index] = plane
    return stacked


def _count(given: dict[str, Sequence[object] | None]) -> int:
    counts = {name: len(values) for name, values in given.items() if values is not None}
    if not counts.keys() & {"points", "boxes"}:
        raise ParameterError("prompt: got neither points nor boxes, expected one of them at least")
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} for {count}" for name, count in counts.items())
        raise ParameterError(f"prompt: got {shown} objects, expected the same number in each")
    return next(iter(counts.values()))
