"""The chain's own steps between the networks: what runs alike in process and inside Triton."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from markcut.belief_weights import Weights
from markcut.clock import Clock
from markcut.contracts import CLIPSEG_SIDE, MARKED_OBJECT, YOLO_SIDE
from markcut.erasing import without_ink
from markcut.errors import InvalidInput
from markcut.geometry import Halves, Picture, Window, letterbox, placed, stretch
from markcut.images import decode
from markcut.marks import Detection, Mark, crop_windows, detections, merge
from markcut.mask_selection import Selection
from markcut.mask_shape import mask_threshold
from markcut.nearer import marks_in, nearer_looks, prompts_of, select_in, whole
from markcut.parameters import Parameters
from markcut.point_sampler import Prompts, decoder_feeds

Array = NDArray[Any]
Outputs = Mapping[str, Array]

WEAK = 0.5
"""Of the mark threshold: YOLO's score from which a detection is listened to."""

WINDOWS = 6
"""Nearer looks at one picture, unless the bundle says otherwise."""

_IMAGE = MARKED_OBJECT.inputs[0].name


@dataclass(frozen=True)
class Views:
    """A picture and the views of it in which marks are looked for, each a batch of one."""

    halves: Halves
    clipseg: NDArray[Any]  # (1, 352, 352, 3)
    yolo11_seg: NDArray[Any]  # (1, 640, 640, 3)

    @property
    def picture(self) -> Picture:
        """(h, w, 3) RGB, upright."""
        return self.halves.picture


def preprocess(image: Array, clock: Clock) -> Views:
    """One encoded picture, uint8 (length,), as the first networks take it.

    Raises :class:`~markcut.errors.InvalidInput` for what is no picture.
    """
    with clock.stage("decode"):
        picture = decode(image)
    with clock.stage("preprocess"):
        halves = Halves(picture)
        return Views(
            halves=halves,
            clipseg=stretch(halves, CLIPSEG_SIDE)[0][None],
            yolo11_seg=letterbox(halves, YOLO_SIDE)[0][None],
        )


def unmarked_view(
    picture: Picture | Halves,
    marks: Sequence[Mark],
    side: int,
    clock: Clock,
    window: Window | None = None,
) -> NDArray[Any]:
    """The picture as SAM2 takes it, its marks painted over: (1, S, S, 3); ``side`` is S.

    ``window`` is the part that SAM2 looks at; by default the whole.
    """
    with clock.stage("preprocess"):
        view, placement = stretch(picture, side, window=window)
        x0, y0, x1, y1 = placement.window
        seen = marks_in(placement.window, marks)
        return without_ink(view, seen, height=y1 - y0, width=x1 - x0)[None]


def find_marks(
    picture: Picture,
    heatmap: Array,
    whole: Outputs,
    detect: Callable[[Array], Outputs],
    asked: Parameters,
    defaults: Mapping[str, float],
    weights: Weights | None,
    clock: Clock,
) -> list[Mark]:
    """The picture's marks, from one look of each network and nearer looks where they are needed.

    ``heatmap`` (1, 352, 352) is CLIPSeg's, ``whole`` are YOLO's outputs for the whole picture,
    ``detect`` runs YOLO on one more view (1, 640, 640, 3).
    """
    height, width = picture.shape[:2]
    # where to look again must not depend on what is asked: a lower threshold adds marks, and
    # moves none (their scores it may move a little, for weaker answers then agree with them)
    usual = defaults["mark_threshold"] * WEAK
    least = min(usual, asked.mark_threshold * WEAK)
    with clock.stage("marks"):
        seen = _detections(whole, placed(height, width, YOLO_SIDE), least)
        windows = crop_windows(
            heatmap[0],
            [detection for detection in seen if detection.score >= usual],
            height=height,
            width=width,
            heat_threshold=defaults["heat_threshold"],
            max_windows=int(defaults.get("max_windows", WINDOWS)),
        )
    nearer: list[Detection] = []
    for window in windows:
        with clock.stage("preprocess"):
            view, placement = letterbox(picture, YOLO_SIDE, window=window)
        with clock.stage("yolo11_seg_crops"):
            outputs = detect(view[None])
        with clock.stage("marks"):
            nearer += _detections(outputs, placement, least)
    with clock.stage("marks"):
        return merge(
            picture,
            seen,
            nearer,
            heatmap[0],
            windows=windows,
            weights=weights,
            threshold=asked.mark_threshold,
            max_marks=asked.max_marks,
        )


def find_objects(
    picture: Picture,
    first: Outputs,
    segment: Callable[[Array, Sequence[Array]], Outputs],
    marks: Sequence[Mark],
    prompts: Prompts,
    *,
    height: int,
    width: int,
    side: int,
    defaults: Mapping[str, float],
    clock: Clock,
) -> list[Selection]:
    """The object of every mark, from SAM2's first look and nearer ones where they are needed.

    ``first`` are the decoder's outputs for the whole ``picture`` (height, width) and all prompts.
    ``segment`` runs SAM2 on one more view (1, S, S, 3) with the decoder's last four inputs;
    ``side`` is S. The picture may be empty where `nearer.leave_room` says that no mark gets
    another look.
    """
    threshold = mask_threshold(defaults)
    with clock.stage("mask_selection"):
        selections = select_in(whole(height, width), first, prompts, marks, threshold=threshold)
        looks = nearer_looks(
            marks, prompts, selections, height=height, width=width, defaults=defaults
        )
    for look in looks:
        view = unmarked_view(picture, marks, side, clock, look.window)
        asked, rows = prompts_of(prompts, look.marks)
        outputs = segment(view, decoder_feeds(asked, side, window=look.window))
        with clock.stage("mask_selection"):
            meant = [marks[index] for index in look.marks]
            fellows = [mark for index, mark in enumerate(marks) if index not in look.marks]
            found = select_in(look.window, outputs, asked, meant, fellows, threshold=threshold)
            for index, one in zip(look.marks, found, strict=True):
                if one.mask.size:  # else the first look knew more
                    selections[index] = dataclasses.replace(one, row=int(rows[one.row]))
    return selections


def _detections(outputs: Outputs, placement: Any, threshold: float) -> Sequence[Detection]:
    only = {name: array[0] for name, array in outputs.items()}
    return detections(only, placement, threshold=threshold)


def only_image(inputs: Mapping[str, Array]) -> Array:
    """The one input of ``contracts.MARKED_OBJECT``; InvalidInput for any other set of inputs."""
    for name in inputs:
        if name != _IMAGE:
            raise InvalidInput(str(name), f"got an unknown input, expected only {_IMAGE!r}")
    if _IMAGE not in inputs:
        raise InvalidInput(_IMAGE, "got nothing, expected uint8 (length,): an encoded picture")
    return inputs[_IMAGE]
