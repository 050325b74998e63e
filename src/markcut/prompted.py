"""Objects by points, boxes and earlier masks that the caller gives: no marks involved.

Coordinates are continuous, as everywhere here: pixel i covers i to i + 1, and the points that
an answer with marks holds can be sent as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut import rle
from markcut.clock import Clock
from markcut.contracts import PROMPTED_OBJECT, SAM2_DECODER, Tensor
from markcut.errors import InvalidInput
from markcut.geometry import Picture, stretch
from markcut.images import check_encoded, decode
from markcut.mask_shape import to_picture
from markcut.parameters import unknown_parameter
from markcut.point_sampler import BOX_END, BOX_START, FOREGROUND, PADDING, Prompts, decoder_feeds
from markcut.runners.base import describe

__all__ = [
    "MAX_OBJECTS",
    "MAX_POINTS",
    "ObjectPrompts",
    "answer",
    "check_parameters",
    "choose",
    "encoded",
    "feeds",
    "parse_prompts",
    "preprocess",
]

MAX_OBJECTS = 32
"""The most objects of one request: as many as one picture may have marks."""

MAX_POINTS = 32
"""The most points of one object."""

BACKGROUND = 0

_UNSURE = 0.05  # logit up to which a pixel may be in or out
_STABLE = 0.98  # share of the pixels that may be in which surely are

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_IMAGE, _COORDS, _LABELS, _BOXES, _EARLIER = PROMPTED_OBJECT.inputs


@dataclass(frozen=True)
class ObjectPrompts:
    """Prompts of N objects, in pixels of the picture; a box's corners come before the points."""

    coords: NDArray[np.float32]  # (N, P, 2) xy
    labels: NDArray[np.int32]  # (N, P) 1 foreground, 0 background, 2 and 3 a box's corners, -1
    earlier: NDArray[np.float32]  # (N, S/4, S/4) logits, 0 where there are none
    has_earlier: NDArray[np.bool_]  # (N,)


def check_parameters(parameters: Mapping[str, object]) -> None:
    """Raise InvalidInput for any: nothing about a given prompt is left to choose."""
    for name in parameters:
        raise unknown_parameter(name, "expected none for given prompts")


def encoded(inputs: Arrays) -> NDArray[np.uint8]:
    """The encoded picture among ``inputs``, uint8 (length,); InvalidInput for another array."""
    if _IMAGE.name not in inputs:
        raise InvalidInput(_IMAGE.name, "got nothing, expected uint8 (length,): an encoded picture")
    return check_encoded(inputs[_IMAGE.name])


def preprocess(inputs: Arrays, side: int, clock: Clock) -> tuple[Array, tuple[int, int]]:
    """SAM2's view (1, S, S, 3) of the picture among ``inputs``, and its height and width."""
    with clock.stage("decode"):
        picture: Picture = decode(encoded(inputs))
    with clock.stage("preprocess"):
        return stretch(picture, side)[0][None], (picture.shape[0], picture.shape[1])


def parse_prompts(inputs: Arrays, side: int, *, height: int, width: int) -> ObjectPrompts:
    """The prompts among the inputs of ``contracts.PROMPTED_OBJECT``, proved to be usable.

    ``side`` is S. Raises :class:`~markcut.errors.InvalidInput`, whose field is the tensor: a
    missing or unknown one, another dtype or shape, no objects or too many, an unknown label, a
    point outside of the picture, a box without area, numbers that are none, an object that has
    neither point nor box, or nothing but background points and no earlier mask either.
    """
    _check_shapes(inputs, side)
    coords, labels, boxes, earlier = (
        inputs[tensor.name] for tensor in (_COORDS, _LABELS, _BOXES, _EARLIER)
    )
    _check_points(coords, labels, height=height, width=width)
    boxed = _check_boxes(boxes, height=height, width=width)
    has_earlier = _all_or_none(_EARLIER, earlier.reshape(len(earlier), -1))
    pointed = (labels != PADDING).any(axis=1)
    for row in np.flatnonzero(~pointed & ~boxed):
        raise InvalidInput(
            _COORDS.name, f"object {row} has neither a point nor a box; give it one of them"
        )
    wanted = (labels == FOREGROUND).any(axis=1) | boxed | has_earlier
    for row in np.flatnonzero(~wanted):
        raise InvalidInput(
            _COORDS.name, f"object {row}: give it a point that is on the object, or a box"
        )
    return ObjectPrompts(
        *_rows(coords, labels, boxes, boxed),
        earlier=np.where(has_earlier[:, None, None], earlier, np.float32(0)),
        has_earlier=has_earlier,
    )


def feeds(prompts: ObjectPrompts, side: int, *, height: int, width: int) -> list[Array]:
    """``prompts`` on a picture (height, width) as the decoder's last four inputs, in order."""
    rows = np.arange(len(prompts.coords), dtype=np.int32)
    given = Prompts(coords=prompts.coords, labels=prompts.labels, owners=rows)
    points, labels, _, _ = decoder_feeds(given, side, window=(0, 0, width, height))
    return [
        points, labels, np.ascontiguousarray(prompts.earlier[:, None]),
        prompts.has_earlier.astype(np.float32),
    ]  # fmt: skip


def choose(labels: Array, has_earlier: Array, logits: Array, predicted: Array) -> NDArray[np.intp]:
    """Which of the decoder's four masks answers each prompt, (N,).

    As with SAM2's own predictor: one lone click may mean a part or the whole, so the best
    predicted of the three masks made for that; everything else is clear enough for mask 0, unless
    that is unstable: then the best of the three again (``build_sam2`` sets
    ``dynamic_multimask_via_stability`` on every image model). ``labels`` (N, P), ``has_earlier``
    (N,), ``logits`` (N, 4, S/4, S/4), ``predicted`` (N, 4).
    """
    clicks = np.isin(labels, (FOREGROUND, BACKGROUND)).sum(axis=1)
    others = np.isin(labels, (BOX_START, BOX_END)).any(axis=1) | (has_earlier != 0)
    best = 1 + predicted[:, 1:].argmax(axis=1)
    return np.where(((clicks == 1) & ~others) | ~_stable(logits[:, 0]), best, 0)


def _stable(logits: Array) -> NDArray[np.bool_]:
    """Whether each mask (N, s, s) hardly depends on where exactly the threshold is."""
    surely = np.count_nonzero(logits > _UNSURE, axis=(1, 2))
    maybe = np.count_nonzero(logits > -_UNSURE, axis=(1, 2))
    return np.asarray((maybe == 0) | (surely / np.maximum(maybe, 1) >= _STABLE), np.bool_)


def answer(
    outputs: Arrays,
    labels: Array,
    has_earlier: Array,
    *,
    height: int,
    width: int,
    clock: Clock,
) -> list[Array]:
    """The outputs of ``contracts.PROMPTED_OBJECT`` in their order, without the last, ``stage_ms``.

    ``outputs`` are those of ``contracts.SAM2_DECODER``; ``labels`` and ``has_earlier`` what it
    was fed.
    """
    logits, predicted, _ = (outputs[tensor.name] for tensor in SAM2_DECODER.outputs)
    with clock.stage("mask_selection"):
        masks = choose(labels, has_earlier, logits, predicted)
        rows = np.arange(len(masks))
        best = np.ascontiguousarray(logits[rows, masks])
        patches = [to_picture(one, height=height, width=width) for one in best]
    with clock.stage("encode"):
        held = np.empty(len(patches), np.object_)
        held[:] = [rle.encode(*patch, height=height, width=width) for patch in patches]
        scores = np.clip(predicted[rows, masks], 0, 1).astype(np.float32)
    return [held, scores, best, np.array([height, width], np.int32)]


def _check_shapes(inputs: Arrays, side: int) -> None:
    names = [tensor.name for tensor in PROMPTED_OBJECT.inputs]
    for name in inputs:
        if name not in names:
            raise InvalidInput(str(name), f"got an unknown input, expected {', '.join(names)}")
    most = {"N": MAX_OBJECTS, "P": MAX_POINTS}
    what = {"N": "objects", "P": "points of an object"}
    known: dict[str, int] = {}
    for tensor in (t.resolve({"S": side}) for t in (_COORDS, _LABELS, _BOXES, _EARLIER)):
        wanted = f"expected {describe(tensor.resolve(known))}"
        array = inputs.get(tensor.name)
        if not isinstance(array, np.ndarray):
            came = "nothing" if array is None else type(array).__name__
            raise InvalidInput(tensor.name, f"got {came}, {wanted}")
        came = f"got {array.dtype} {array.shape}"
        if array.dtype != tensor.numpy_dtype or array.ndim != len(tensor.dims):
            raise InvalidInput(tensor.name, f"{came}, {wanted}")
        for size, dim in zip(array.shape, tensor.dims, strict=True):
            if size != (dim if isinstance(dim, int) else known.setdefault(dim, size)):
                raise InvalidInput(tensor.name, f"{came}, {wanted}")
            if isinstance(dim, str) and size > most[dim]:
                raise InvalidInput(tensor.name, f"{came}, expected at most {most[dim]} {what[dim]}")
        if array.shape[0] == 0:
            raise InvalidInput(tensor.name, f"{came}, expected at least one object")


def _check_points(coords: Array, labels: Array, *, height: int, width: int) -> None:
    strange = labels[~np.isin(labels, (FOREGROUND, BACKGROUND, PADDING))]
    if strange.size:
        raise InvalidInput(
            _LABELS.name,
            f"got {strange.flat[0]}, expected 1 foreground, 0 background or -1 padding",
        )
    for point in coords[labels != PADDING]:
        if not ((point >= 0).all() and point[0] <= width and point[1] <= height):
            raise InvalidInput(
                _COORDS.name,
                f"got the point {_shown(point)}, expected xy inside {width} x {height} pixels",
            )


def _check_boxes(boxes: Array, *, height: int, width: int) -> NDArray[np.bool_]:
    boxed = _all_or_none(_BOXES, boxes)
    for box in boxes[boxed]:
        x0, y0, x1, y1 = box.tolist()
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InvalidInput(
                _BOXES.name,
                f"got {_shown(box)}, expected xyxy with x0 < x1 and y0 < y1 inside "
                f"{width} x {height} pixels, or NaN four times for no box",
            )
    return boxed


def _all_or_none(tensor: Tensor, values: Array) -> NDArray[np.bool_]:
    """Which rows (N, k) hold numbers, where a row of nothing but NaN stands for none."""
    given = ~np.isnan(values).all(axis=1)
    for row in np.flatnonzero(given & ~np.isfinite(values).all(axis=1)):
        raise InvalidInput(
            tensor.name,
            f"object {row} mixes numbers with NaN or infinity; "
            "give it finite numbers alone, or NaN alone for none",
        )
    return np.asarray(given, np.bool_)


def _rows(
    coords: Array, labels: Array, boxes: Array, boxed: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Every object's corners and points at the front, and no more padding than needed."""
    held = labels != PADDING
    most = int((held.sum(axis=1) + 2 * boxed).max())
    packed = np.zeros((len(labels), most, 2), np.float32)
    kinds = np.full((len(labels), most), PADDING, np.int32)
    for row, (inside, box) in enumerate(zip(held, boxes, strict=True)):
        start = 0
        if boxed[row]:
            packed[row, :2], kinds[row, :2] = box.reshape(2, 2), (BOX_START, BOX_END)
            start = 2
        end = start + int(inside.sum())
        packed[row, start:end], kinds[row, start:end] = coords[row, inside], labels[row, inside]
    return packed, kinds


def _shown(values: Array) -> str:
    return f"({', '.join(f'{value:g}' for value in values.tolist())})"
