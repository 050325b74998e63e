"""CLIPSeg and YOLO11-seg beside their upstream projects, picture by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.boxes import box_iou, paired
from export.fidelity.pictures import NamedPicture
from export.fidelity.records import (
    MARKS_FOUND,
    PICTURE,
    ROUNDED,
    TENSOR,
    Finding,
    overlap,
    values,
)
from export.fidelity.records import view as view_finding
from export.fidelity.rounding import ROUNDING, decided_iou, undecided
from export.fidelity.upstream import UpstreamClipseg, UpstreamYolo, YoloSaid
from export.graph import Picture
from markcut.contracts import CLIPSEG, CLIPSEG_SIDE, KINDS, YOLO11_SEG, YOLO_SIDE
from markcut.geometry import Placement, letterbox, stretch
from markcut.runners import Runner

Floats = NDArray[np.float32]

_VIEW, _COND = (tensor.name for tensor in CLIPSEG.inputs)
_HEAT = CLIPSEG.outputs[0].name
_BOXES, _SCORES, _KINDS, _MASKS = (tensor.name for tensor in YOLO11_SEG.outputs)

_PAIRED = 0.6  # IoU of two boxes from which they can be one mark
_NEAR = 0.01  # of the threshold: what is nearer to it may be found by one alone
_BARELY = 0.02  # of the suppression's limit: what overlaps that much may be found by one alone


def clipseg_findings(
    runner: Runner,
    upstream: UpstreamClipseg,
    conds: Floats,
    prompts: Sequence[str],
    pictures: Sequence[NamedPicture],
    *,
    heat_threshold: float,
) -> Iterator[Finding]:
    """Heat maps of every prompt, and the places above the threshold in them.

    ``conds`` (prompts, D) are the bundle's vectors; upstream is given the texts.
    """

    def ours(view: Picture) -> Floats:
        return np.stack(
            [runner.infer({_VIEW: view[None], _COND: cond[None]})[_HEAT][0] for cond in conds]
        )

    for named in pictures:
        view = stretch(named.picture, CLIPSEG_SIDE)[0]
        wanted = upstream.heat(named.picture, prompts)
        resized = upstream.resized(named.picture)
        yield view_finding(CLIPSEG.name, view, resized, picture=named.label)
        for level, got, reference in (
            (TENSOR, ours(view), upstream.heat(view, prompts)),
            (ROUNDED, ours(resized), wanted),
            (PICTURE, ours(view), wanted),
        ):
            yield values(CLIPSEG.name, level, _HEAT, got, reference, picture=named.label)
            yield overlap(
                CLIPSEG.name, level, "hot places",
                decided_iou(
                    got > heat_threshold, reference > heat_threshold,
                    undecided(got, heat_threshold),
                ), picture=named.label,
            )  # fmt: skip


def yolo_findings(
    runner: Runner,
    upstream: UpstreamYolo,
    pictures: Sequence[NamedPicture],
    *,
    threshold: float,
    iou: float,
) -> Iterator[Finding]:
    """Marks found by both, their boxes, scores, kinds and ink.

    ``iou`` is that of the graph's own suppression. With ``rect`` upstream pads as it does by
    default, and not to a square as the graph's input is.
    """
    for named in pictures:
        square, placement = letterbox(named.picture, YOLO_SIDE)
        whole = Placement((0, 0, YOLO_SIDE, YOLO_SIDE), (0, 0, YOLO_SIDE, YOLO_SIDE), YOLO_SIDE)
        settings = {"threshold": threshold, "iou": iou}
        resized = upstream.resized(named.picture)
        yield view_finding(YOLO11_SEG.name, square, resized, picture=named.label)
        for level, kind, picture, view, place, rect in (
            (TENSOR, "", square, square, whole, False),
            (ROUNDED, "", named.picture, resized, placement, False),
            (PICTURE, "", named.picture, square, placement, False),
            (PICTURE, "rect", named.picture, square, placement, True),
        ):
            got = _marks(runner, view, place, threshold=threshold)
            wanted = upstream.predict(picture, rect=rect, **settings)
            size = picture.shape[:2]
            yield from _compared(
                got, wanted, named.label, level, kind,
                threshold=threshold, iou=iou, size=(size[0], size[1]),
            )  # fmt: skip


@dataclass(frozen=True)
class _Ours(YoloSaid):
    """One mark of the graph's; ``unsure`` (h, w) is where rounding decides what is ink."""

    unsure: NDArray[np.bool_]


def _marks(runner: Runner, view: Picture, placement: Placement, *, threshold: float) -> list[_Ours]:
    """The graph's marks in the picture's pixels; masks assembled as ultralytics does, from logits.

    The pipeline does not stop there: it takes the probabilities as a first guess and lets the
    picture's colours decide which pixels are ink.
    """
    outputs = {name: array[0] for name, array in runner.infer({_INPUT: view[None]}).items()}
    left, top, right, bottom = placement.inner
    found = []
    for row in np.flatnonzero(outputs[_SCORES] >= threshold):
        inside = np.clip(
            outputs[_BOXES][row], (left, top, left, top), (right, bottom, right, bottom)
        )
        box = placement.backward(inside).astype(np.float32)
        prob = np.clip(outputs[_MASKS][row].astype(np.float64), 1e-12, 1 - 1e-12)
        logits = placement.restore(np.log(prob / (1 - prob)).astype(np.float32))
        mask = logits > 0
        unsure = undecided(logits)
        columns, rows = np.arange(mask.shape[1]), np.arange(mask.shape[0])[:, None]
        for places, low, high in ((columns, box[0], box[2]), (rows, box[1], box[3])):
            mask &= (places >= low) & (places < high)
            for edge in (low, high):
                unsure |= np.abs(places - edge) < ROUNDING * max(mask.shape)
        if mask.any():  # ultralytics drops what has no ink
            score = float(outputs[_SCORES][row])
            found.append(_Ours(int(outputs[_KINDS][row]), score, box, mask, unsure))
    return found


_INPUT = YOLO11_SEG.inputs[0].name


def _compared(
    got: list[_Ours],
    wanted: list[YoloSaid],
    picture: str,
    level: str,
    kind: str,
    *,
    threshold: float,
    iou: float,
    size: tuple[int, int],
) -> Iterator[Finding]:
    name = YOLO11_SEG.name
    wanted_boxes, got_boxes = (
        np.reshape([mark.box for mark in marks], (-1, 4)) for marks in (wanted, got)
    )
    pairs = [
        (got[match], wanted[row]) for row, match in paired(wanted_boxes, got_boxes, least=_PAIRED)
    ]
    together = {id(mark) for pair in pairs for mark in pair}
    # what is alone counts, unless it is that near to the threshold, or to being suppressed
    alone = [
        mark
        for mark in (*got, *wanted)
        if id(mark) not in together
        and mark.score > threshold + _NEAR
        and not _barely_kept(mark, (*got, *wanted), iou)
    ]
    if got or wanted:
        share = len(pairs) / max(len(pairs) + len(alone), 1)
        yield overlap(name, level, MARKS_FOUND, share, picture=picture, kind=kind)
    for ours, theirs in pairs:
        # boxes are up to the picture's side long, whatever part of it this one fills
        scale = np.array(max(size), np.float32)
        boxes = [np.append(mark.box, scale).astype(np.float32) for mark in (ours, theirs)]
        scores = [np.array([mark.score], np.float32) for mark in (ours, theirs)]
        yield values(name, level, _BOXES, *boxes, picture=picture, kind=kind)
        yield values(name, level, _SCORES, *scores, picture=picture, kind=kind)
        same = float(ours.kind == theirs.kind)
        yield overlap(name, level, _KINDS, same, picture=picture, kind=kind)
        ink = decided_iou(ours.mask, theirs.mask, ours.unsure)
        where = f"{picture}, {KINDS[theirs.kind]}"
        yield overlap(name, level, _MASKS, ink, picture=where, kind=kind)


def _barely_kept(mark: YoloSaid, marks: Sequence[YoloSaid], iou: float) -> bool:
    """Whether a better mark overlaps ``mark`` so that rounding decides about its suppression."""
    better = np.reshape([other.box for other in marks if other.score > mark.score], (-1, 4))
    return bool((np.abs(box_iou(mark.box[None], better) - iou) < _BARELY).any())
