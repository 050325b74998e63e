"""One answer against one scene's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.matching import Region, mask_iou, match_ink, points_hit
from markcut_client.results import Extraction
from markcut_client.wire import FOREGROUND
from training.scenes import Scene


@dataclass(frozen=True)
class Found:
    """What was answered for a drawn mark; ``index`` is the answer's in its extraction.

    ``point_hit`` says that the first foreground point lies on the object meant and off all ink,
    ``all_points_hit`` that every one does. No foreground point at all is no hit.
    """

    index: int
    kind: str
    ink_iou: float
    object_iou: float
    point_hit: bool
    all_points_hit: bool


@dataclass(frozen=True)
class MarkOutcome:
    """A drawn mark, its kind, stroke width in pixels, and what was found of it."""

    kind: str
    stroke_width: float
    found: Found | None


@dataclass(frozen=True)
class FalseMark:
    """An answer that belongs to no drawn mark, or to one that has a better answer."""

    index: int
    kind: str


@dataclass(frozen=True)
class PictureOutcome:
    """One picture: its scene, all marks drawn on it, and the answers that are none."""

    size: str
    seed: int
    layout: str
    height: int
    width: int
    marks: tuple[MarkOutcome, ...]
    false_marks: tuple[FalseMark, ...]


def judge(scene: Scene, extraction: Extraction | None, *, size: str) -> PictureOutcome:
    """The outcome of ``extraction``; without one (the engine failed) all marks are missed."""
    answers = () if extraction is None else extraction.objects
    drawn_ink = [Region(mark.ink) for mark in scene.marks]
    answered_ink = [Region(answer.mark.mask) for answer in answers]
    pairs = {t: (a, iou) for t, a, iou in match_ink(drawn_ink, answered_ink)}
    all_ink = np.zeros(scene.instances.shape, np.bool_)
    for mark in scene.marks:
        all_ink |= mark.ink
    outcomes = []
    for number, mark in enumerate(scene.marks):
        found = None
        if number in pairs:
            index, ink_iou = pairs[number]
            answer = answers[index]
            wanted = scene.object_mask(mark)
            hits = points_hit(answer.points[answer.point_labels == FOREGROUND], wanted, all_ink)
            found = Found(
                index=index,
                kind=answer.mark.kind,
                ink_iou=ink_iou,
                object_iou=mask_iou(Region(wanted), Region(answer.mask)),
                point_hit=bool(hits[:1].any()),
                all_points_hit=len(hits) > 0 and bool(hits.all()),
            )
        outcomes.append(MarkOutcome(mark.kind, mark.width, found))
    taken = {index for index, _ in pairs.values()}
    height, width = scene.instances.shape
    return PictureOutcome(
        size=size,
        seed=scene.seed,
        layout=scene.layout,
        height=height,
        width=width,
        marks=tuple(outcomes),
        false_marks=tuple(
            FalseMark(index, answer.mark.kind)
            for index, answer in enumerate(answers)
            if index not in taken
        ),
    )
