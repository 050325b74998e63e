"""What an answer holds, as objects: pictures with their marks, and what the marks mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from markcut_client import wire
from markcut_client.cutouts import Background, cut_out
from markcut_client.masks import Mask, Rle
from markcut_client.pictures import EncodedPicture, Pixels, PixelSource

__all__ = ["Extraction", "Mark", "MarkedObject", "read_answer"]


@dataclass(frozen=True, eq=False)
class Mark:
    """What somebody drew.

    ``kind`` is one of ``wire.KINDS``, ``score`` the confidence 0..1, ``box`` the ink's xyxy in
    pixels of the upright picture, ``segmentation`` the ink as run lengths.
    """

    kind: str
    score: float
    box: tuple[float, float, float, float]
    segmentation: Rle = field(repr=False)

    @cached_property
    def mask(self) -> Mask:
        """The ink, a read-only bool array (h, w) of the picture's size, decoded once."""
        return frozen(self.segmentation.decode())


class Segmented(ABC):
    """What has a mask on a picture: its pixels, its box, and the cut-out."""

    segmentation: Rle
    source: PixelSource

    @cached_property
    def mask(self) -> Mask:
        """The object, a read-only bool array (h, w) of the picture's size, decoded once."""
        return frozen(self.segmentation.decode())

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Smallest box around the object: x, y, width, height; zeros where the mask is empty."""
        return self.segmentation.bbox

    @property
    def area(self) -> int:
        """Number of the object's pixels."""
        return self.segmentation.area

    def cutout(self, *, background: Background = "white", margin: int = 0) -> Image.Image:
        """The object alone, cropped to its box and ``margin`` pixels more where there are any.

        ``background`` is ``"white"`` or a colour ``(r, g, b)`` (an RGB image comes back),
        ``"transparent"`` (RGBA), or ``"original"`` for the plain crop of the picture. Edges are
        smooth and carry the object's own colours, none of the old background's. Ink that was
        drawn over the object stays on it: the pixels are the picture's.

        Raises :class:`ParameterError` for other backgrounds, a margin below 0 and an empty mask
        (``area`` is 0), :class:`PictureError` where the picture cannot be decoded here.
        """
        return cut_out(self.source.pixels, self.mask, self.bbox, background, margin)

    def outline_json(self) -> dict[str, Any]:
        """The mask's part of the result JSON."""
        return {
            "segmentation": self.segmentation.to_json(),
            "bbox": list(self.bbox),
            "area": self.area,
        }

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """This object as in the result JSON."""


Found = TypeVar("Found", bound=Segmented)


@dataclass(frozen=True, eq=False)
class Answer(Sequence[Found]):
    """The objects of one picture, in the engine's order.

    ``picture`` is the path as it was given, empty for bytes, images and arrays; ``width`` and
    ``height`` are the upright picture's; ``stage_ms`` holds the milliseconds of every stage.
    """

    picture: str
    width: int
    height: int
    objects: tuple[Found, ...]
    stage_ms: Mapping[str, float]
    source: PixelSource = field(repr=False)

    @overload
    def __getitem__(self, index: int) -> Found: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Found, ...]: ...
    def __getitem__(self, index: int | slice) -> Found | tuple[Found, ...]:
        return self.objects[index]

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[Found]:
        return iter(self.objects)

    @property
    def pixels(self) -> Pixels:
        """The upright picture, a read-only uint8 array (h, w, 3), RGB, decoded once."""
        return self.source.pixels

    def to_json(self) -> dict[str, Any]:
        """The result JSON of one picture."""
        return {
            "picture": self.picture,
            "width": self.width,
            "height": self.height,
            "objects": [found.to_json() for found in self.objects],
            "stage_ms": {stage: rounded(ms) for stage, ms in self.stage_ms.items()},
        }


@dataclass(frozen=True, eq=False)
class MarkedObject(Segmented):
    """What a mark means.

    ``points`` are the prompts that found it, float32 (p, 2), xy in pixels of the upright
    picture, and ``point_labels`` int32 (p,), 1 for inside of the object and 0 for outside.
    ``score`` is the predicted IoU of the mask, 0..1, and ``reason`` says why this mask was chosen.
    """

    mark: Mark
    points: NDArray[np.float32]
    point_labels: NDArray[np.int32]
    score: float
    reason: str
    segmentation: Rle = field(repr=False)
    source: PixelSource = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """This object as in the result JSON."""
        return {
            "mark": {
                "kind": self.mark.kind,
                "score": rounded(self.mark.score),
                "box": [rounded(value) for value in self.mark.box],
                "segmentation": self.mark.segmentation.to_json(),
            },
            "points": [[rounded(x), rounded(y)] for x, y in self.points.tolist()],
            "point_labels": self.point_labels.tolist(),
            **self.outline_json(),
            "score": rounded(self.score),
            "reason": self.reason,
        }


class Extraction(Answer[MarkedObject]):
    """The marked objects of one picture; empty where nothing is marked."""


def read_answer(encoded: EncodedPicture, outputs: Mapping[str, wire.Array]) -> Extraction:
    """The extraction in ``outputs``; :class:`AnswerError` where they break the contract."""
    wire.check_answer(outputs, wire.MARKED_OBJECT)
    source = pixel_source(encoded, outputs)
    objects = tuple(
        _read_object(outputs, index, source) for index in range(len(outputs[wire.MARK_KINDS.name]))
    )
    return Extraction(encoded.name, source.width, source.height, objects, stage_ms(outputs), source)


def pixel_source(encoded: EncodedPicture, outputs: Mapping[str, wire.Array]) -> PixelSource:
    """The picture of a checked answer."""
    height, width = outputs[wire.PICTURE_SIZE.name].tolist()
    return PixelSource(encoded, width, height)


def stage_ms(outputs: Mapping[str, wire.Array]) -> dict[str, float]:
    """Milliseconds by stage of a checked answer."""
    return dict(zip(wire.STAGES, outputs[wire.STAGE_MS.name].tolist(), strict=True))


def _read_object(
    outputs: Mapping[str, wire.Array], index: int, source: PixelSource
) -> MarkedObject:
    def of(tensor: wire.Tensor) -> Any:
        return outputs[tensor.name][index]

    x0, y0, x1, y1 = of(wire.MARK_BOXES).tolist()
    used = of(wire.POINT_LABELS) != wire.PADDING
    return MarkedObject(
        mark=Mark(
            kind=wire.KINDS[of(wire.MARK_KINDS)],
            score=float(of(wire.MARK_SCORES)),
            box=(x0, y0, x1, y1),
            segmentation=read_rle(of(wire.MARK_MASKS), source),
        ),
        points=frozen(of(wire.POINT_COORDS)[used]),
        point_labels=frozen(of(wire.POINT_LABELS)[used]),
        score=float(of(wire.OBJECT_SCORES)),
        reason=of(wire.OBJECT_REASONS).decode("utf-8", errors="replace"),
        segmentation=read_rle(of(wire.OBJECT_MASKS), source),
        source=source,
    )


def read_rle(counts: bytes, source: PixelSource) -> Rle:
    """Run lengths of the picture's size; :class:`AnswerError` where they are not."""
    rle = Rle(source.height, source.width, counts)
    _ = rle.runs  # checks them now, where the error belongs to the answer
    return rle


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` itself, read-only from now on."""
    array.flags.writeable = False
    return array


def rounded(value: float) -> float:
    """float32 values carry seven digits; more of them in a file are noise."""
    return float(f"{value:.6g}")
