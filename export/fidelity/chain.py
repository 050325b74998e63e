"""The whole chain beside a chain of upstream's calls: the same picture, prompts and mask number."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from export.around import Around
from export.fidelity.agreement import full_mask, mask_iou
from export.fidelity.pictures import NamedPicture
from export.fidelity.prompts import Prompt
from export.fidelity.records import PICTURE, TENSOR, Finding, overlap
from export.fidelity.upstream import UpstreamSam2
from export.graph import Picture
from markcut.bundle import Bundle
from markcut.candidates import ink_grid
from markcut.chain import unmarked_view
from markcut.clock import Clock
from markcut.contracts import KINDS, MARKED_OBJECT, SAM2_DECODER
from markcut.geometry import stretch
from markcut.marks import Mark
from markcut.mask_shape import clean
from markcut.pipeline import Pipeline
from markcut.point_sampler import BOX_START, FOREGROUND, PADDING
from markcut.runners import Runner, Value

CHAIN, OBJECT = "chain", "object masks"

_FEATURES = 3  # of the decoder's inputs, before the prompts
_KIND, _SCORE, _BOX, _INK, _, _, _MASK, _IOU = (t.name for t in MARKED_OBJECT.outputs[:8])
_COORDS, _LABELS = (tensor.name for tensor in SAM2_DECODER.inputs[_FEATURES:][:2])
_PREDICTED = SAM2_DECODER.outputs[1].name

Arrays = Mapping[str, NDArray[Any]]


class Listening(Around):
    """A runner that remembers what it was last asked and what it said."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.asked: Arrays = {}
        self.said: Arrays = {}

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
        said = super().infer(feeds)
        self.asked = {name: np.asarray(value) for name, value in feeds.items()}
        self.said = said
        return said


def chain_findings(
    bundle: Bundle,
    runners: Mapping[str, Runner],
    upstream: UpstreamSam2,
    pictures: Sequence[NamedPicture],
) -> Iterator[Finding]:
    """The embedded pipeline's object masks beside upstream's, one finding per mark.

    Upstream gets the prompt that the pipeline chose, alone, and the number of the mask; what it
    answers is cleaned by the pipeline's own code, which is no part of any network. From the
    picture, upstream resizes and upscales by itself; from the tensor, both have the pipeline's
    view of the picture. In both, marks are painted over as the pipeline does before SAM2 looks.
    """
    decoder = Listening(runners[SAM2_DECODER.name])
    pipeline = Pipeline(bundle, {**runners, SAM2_DECODER.name: decoder})
    image = MARKED_OBJECT.inputs[0].name
    for named in pictures:
        decoder.asked, decoder.said = {}, {}
        answer = pipeline.infer({image: np.frombuffer(_as_png(named.picture), np.uint8)})
        if not len(answer[_KIND]):
            continue
        height, width = named.picture.shape[:2]
        marks = _marks(answer, (height, width))
        chosen = [_chosen(decoder, float(score)) for score in answer[_IOU]]
        unmarked = _unmarked(named.picture, marks, upstream.side)
        for level, view in (
            (TENSOR, unmarked),
            (PICTURE, _painted(named.picture, unmarked)),
        ):
            upstream.set_image(view)
            for mark, counts, (row, index) in zip(marks, answer[_MASK], chosen, strict=True):
                wanted = _upstream_object(
                    upstream, decoder.asked, row, index, marks, view.shape[:2], (height, width)
                )
                iou = mask_iou(_decoded(counts, (height, width)), wanted)
                where = f"{named.label}, {KINDS[mark.kind]}"
                yield overlap(CHAIN, level, OBJECT, iou, picture=where)


def _upstream_object(
    upstream: UpstreamSam2,
    asked: Arrays,
    row: int,
    index: int,
    marks: Sequence[Mark],
    seen: tuple[int, ...],
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """The object that upstream's predictor finds at the prompt in ``row`` of what was asked."""
    labels = asked[_LABELS][row]
    # from pixels of the network's input, counted from their centres, to those of what was seen
    scale = np.array([seen[1], seen[0]], np.float32) / upstream.side
    coords = (asked[_COORDS][row] + 0.5) * scale
    corners = coords[labels >= BOX_START]
    points = (labels != PADDING) & (labels < BOX_START)
    prompt = Prompt(
        "chosen", coords[points], labels[points],
        corners.reshape(4) if len(corners) else None,
    )  # fmt: skip
    said = upstream.predict([prompt], multimask=index > 0, fallback=False)
    logits = said.low_res[0, max(index - 1, 0)]
    side = logits.shape[-1]
    ink = np.zeros((side, side), np.float32)
    for mark in marks:
        np.maximum(ink, ink_grid(mark, side, height=size[0], width=size[1]), out=ink)
    cells = (asked[_COORDS][row][labels == FOREGROUND] + 0.5) * (side / upstream.side)
    return full_mask(clean(logits, cells, ink), size)


def _chosen(decoder: Listening, score: float) -> tuple[int, int]:
    """Row and number of the mask whose predicted IoU the pipeline gave as the object's score."""
    predicted = np.clip(np.nan_to_num(decoder.said[_PREDICTED]), 0, 1)
    row, index = np.unravel_index(int(np.abs(predicted - score).argmin()), predicted.shape)
    return int(row), int(index)


def _marks(answer: Arrays, size: tuple[int, int]) -> list[Mark]:
    found = []
    for kind, score, box, counts in zip(
        *(answer[n] for n in (_KIND, _SCORE, _BOX, _INK)), strict=True
    ):
        ink = _decoded(counts, size)
        x0, y0, x1, y1 = (int(value) for value in box)
        found.append(Mark(int(kind), float(score), box, ink[y0:y1, x0:x1], (x0, y0)))
    return found


def _decoded(counts: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(coco.decode({"size": list(size), "counts": counts}), np.bool_)


def _unmarked(picture: Picture, marks: Sequence[Mark], side: int) -> Picture:
    """SAM2's view of the picture (side, side, 3), the marks painted over as the pipeline does."""
    return np.asarray(unmarked_view(picture, marks, side, Clock())[0], np.uint8)


def _painted(picture: Picture, unmarked: Picture) -> Picture:
    """The picture with what ``unmarked``, its view without marks, has in their places."""
    height, width = picture.shape[:2]
    changed = (unmarked != stretch(picture, len(unmarked))[0]).any(2).astype(np.uint8)
    there = cv2.resize(changed, (width, height), interpolation=cv2.INTER_NEAREST)
    paint = cv2.resize(unmarked, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(there[..., None] > 0, paint, picture).astype(np.uint8, copy=False)


def _as_png(picture: Picture) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
