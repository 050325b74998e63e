"""From outcomes to figures: shares, means, medians, and how sure a share is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmarks.judging import PictureOutcome
from benchmarks.matching import dice
from markcut.contracts import KINDS

MISSED = "missed"
NONE = "none"

STROKE_WIDTHS = (0.0, 4.0, 8.0, 16.0, math.inf)
"""Edges of the bins of stroke widths, pixels."""


@dataclass(frozen=True)
class Share:
    """A share, of how many, and the 95 % interval that its number of trials allows (Wilson)."""

    value: float
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Mean and median."""

    mean: float
    median: float


@dataclass(frozen=True)
class Figures:
    """Everything that is measured on one group of marks; None where there is nothing to count.

    ``false_marks`` are answers that belong to no drawn mark, ``false_per_unmarked`` those on
    pictures without any. ``ink_iou``, ``object_iou`` and ``object_dice`` are of found marks;
    the ``end_to_end`` ones count a missed mark as 0.
    """

    pictures: int
    unmarked_pictures: int
    marks: int
    recall: Share | None
    false_marks: int | None
    false_per_picture: float | None
    false_per_unmarked: float | None
    kind_accuracy: Share | None
    ink_iou: Spread | None
    point_hit: Share | None
    all_points_hit: Share | None
    object_iou: Spread | None
    object_dice: Spread | None
    end_to_end_iou: Spread | None
    end_to_end_dice: Spread | None


def figures(
    pictures: Sequence[PictureOutcome],
    *,
    kind: str | None = None,
    stroke_width: tuple[float, float] | None = None,
) -> Figures:
    """The figures of all marks in ``pictures``, or of one kind, or of a range of stroke widths.

    With ``kind`` false marks are those that were called it. With ``stroke_width`` (from, below)
    there are no figures of false marks: they have no true width.
    """
    least, below = stroke_width or (0.0, math.inf)
    marks = [
        mark
        for picture in pictures
        for mark in picture.marks
        if kind in (None, mark.kind) and least <= mark.stroke_width < below
    ]
    found = [mark.found for mark in marks if mark.found is not None]
    unmarked = [picture for picture in pictures if not picture.marks]
    false_marks = false_on_unmarked = None
    if stroke_width is None:
        false_marks, false_on_unmarked = (
            sum(kind in (None, false.kind) for picture in group for false in picture.false_marks)
            for group in (pictures, unmarked)
        )
    overlaps = [mark.object_iou for mark in found]
    all_overlaps = overlaps + [0.0] * (len(marks) - len(found))
    return Figures(
        pictures=len(pictures),
        unmarked_pictures=len(unmarked),
        marks=len(marks),
        recall=_share(mark.found is not None for mark in marks),
        false_marks=false_marks,
        false_per_picture=_rate(false_marks, len(pictures)),
        false_per_unmarked=_rate(false_on_unmarked, len(unmarked)),
        kind_accuracy=_share(
            mark.found.kind == mark.kind for mark in marks if mark.found is not None
        ),
        ink_iou=_spread([mark.ink_iou for mark in found]),
        point_hit=_share(mark.point_hit for mark in found),
        all_points_hit=_share(mark.all_points_hit for mark in found),
        object_iou=_spread(overlaps),
        object_dice=_spread([dice(iou) for iou in overlaps]),
        end_to_end_iou=_spread(all_overlaps),
        end_to_end_dice=_spread([dice(iou) for iou in all_overlaps]),
    )


def confusion(pictures: Iterable[PictureOutcome]) -> dict[str, dict[str, int]]:
    """Counts by true kind and answered kind.

    A drawn mark that was not found counts under its kind and ``missed``, a false mark under
    ``none`` and what it was called.
    """
    counts = {row: dict.fromkeys((*KINDS, MISSED), 0) for row in (*KINDS, NONE)}
    for picture in pictures:
        for mark in picture.marks:
            counts[mark.kind][MISSED if mark.found is None else mark.found.kind] += 1
        for false in picture.false_marks:
            counts[NONE][false.kind] += 1
    return counts


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, ``trials`` above 0."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials)
    half *= math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def _share(successes: Iterable[bool]) -> Share | None:
    outcomes = list(successes)
    if not outcomes:
        return None
    low, high = wilson(sum(outcomes), len(outcomes))
    return Share(_rounded(np.mean(outcomes)), len(outcomes), _rounded(low), _rounded(high))


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(mean=_rounded(np.mean(values)), median=_rounded(np.median(values)))


def _rate(count: int | None, of: int) -> float | None:
    return None if count is None or not of else _rounded(count / of)


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)
